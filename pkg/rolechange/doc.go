// Package rolechange turns the member's changes of role into the broker role
// MASTER or SLAVE, one change at a time, the latest one winning.
//
// The state maintainer of pkg/dledger calls Notify whenever the role, term or
// leader changes. Notify only notes the change and returns: elections never wait
// for what a change of role sets in motion. The handlers run one after the other
// in the goroutine of Run:
//
//	Notify ──> latest change (older terms are dropped) ──> Run ──> handler 1, 2, …
//
// A change that arrives while the handlers of an older one still run cancels
// their context; whatever they were starting for a leadership that is over is
// abandoned. Changes that were overtaken before their handlers began are never
// handed out, so a handler may see BecomeMaster(5) followed by BecomeMaster(7)
// and must take the second as a new mastership.
//
// Only the slow part of a change belongs here: starting and stopping what only a
// leader does. The flip of the commit log itself is immediate and happens in
// pkg/dledger, in order with the member's updates.
//
// Goroutines: none but the caller of Run. Notify may be called from anywhere.
package rolechange
