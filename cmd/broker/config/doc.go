// Package config fills a configuration struct from a YAML file, the environment
// and flags, in rising order, and remembers where each value came from.
//
// A setting is a leaf of the struct, named by its yaml tags: the path
// "raft.heartbeat" is heartbeat under raft in the file and LEDGERMQ_RAFT_HEARTBEAT
// in the environment. Nothing is ignored: an unknown key, an unknown LEDGERMQ_*
// variable, a key given twice or a value of the wrong kind is an error that names
// its place and, where there is one, the name that was probably meant.
package config
