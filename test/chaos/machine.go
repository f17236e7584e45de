package chaos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// ability is something that a fault needs of the machine.
type ability string

const (
	processes   ability = "processes"           // signals; always there
	namespaces  ability = "namespaces"          // root, network namespaces, veth, bridge
	packets     ability = "packets"             // nft in a network namespace
	randomDrops ability = "random drops"        // nft numgen
	resets      ability = "resets"              // nft reject with tcp reset
	disks       ability = "disks"               // ext4 on a loop device
	powerLoss   ability = "power loss"          // EXT4_IOC_SHUTDOWN, umount, mount
	freezing    ability = "freezing"            // FIFREEZE on the loop mount
	freezer     ability = "freezer"             // the cgroup freezer, version 1
	directDisks ability = "direct writes"       // ext4 with data=ordered
	oneShot     ability = "one-shot I/O errors" // a FUSE mount over a disk that can lose power
	redirects   ability = "redirects"           // nft dnat, and resets
)

// errNotRoot is what root could mend.
var errNotRoot = errors.New("not run by root")

// errNamespaces says why there are no namespaces; nil when there are.
var errNamespaces = errNotRoot

// machine is what was found out about this one.
type machine struct {
	lacks map[ability]error // why
}

func (m *machine) has(a ability) bool { return m.lacks[a] == nil }

func (m *machine) lack(a ability, why error) {
	if m.lacks[a] == nil {
		m.lacks[a] = why
	}
}

// need makes an ability depend on another.
func (m *machine) need(a, on ability) {
	if !m.has(on) {
		m.lack(a, fmt.Errorf("needs %s: %w", on, m.lacks[on]))
	}
}

// probe tries everything that a fault needs, in the namespaces of this run. inside is
// false when there are none, because of why.
func probe(dir string, inside bool, why error) *machine {
	m := &machine{lacks: map[ability]error{}}
	if !inside {
		m.lack(namespaces, why)
		for _, a := range []ability{packets, randomDrops, resets, redirects, disks, directDisks, powerLoss, freezing, freezer, oneShot} {
			m.need(a, namespaces)
		}
		return m
	}
	m.probeNetwork()
	m.probeDisk(dir)
	if _, err := os.Stat(filepath.Join(freezerRoot, "cgroup.procs")); err != nil {
		m.lack(freezer, err)
	}
	return m
}

func (m *machine) probeNetwork() {
	const ns = "probe"
	if err := firstError(
		func() error { return command("ip", "netns", "add", ns) },
		func() error { return command("ip", "link", "add", "probe0", "type", "bridge") },
		func() error { return command("ip", "link", "add", "probe1", "type", "veth", "peer", "name", "probe2") },
		func() error { return command("ip", "link", "del", "probe1") },
		func() error { return command("ip", "link", "del", "probe0") },
	); err != nil {
		m.lack(namespaces, err)
	}
	if _, err := exec.LookPath("nsenter"); err != nil {
		m.lack(namespaces, fmt.Errorf("%w: install the package util-linux", err))
	}
	m.need(packets, namespaces)
	if m.has(packets) {
		if _, err := exec.LookPath("nft"); err != nil {
			m.lack(packets, fmt.Errorf("%w: install the package nftables", err))
		} else if err := applyRules(ns, []string{"ip saddr 192.0.2.1 drop"}); err != nil {
			m.lack(packets, err)
		}
	}
	if m.need(redirects, packets); m.has(redirects) {
		probe := &relay{port: 1}
		if err := applyRedirections(ns, []string{probe.redirection("192.0.2.1", 1)}); err != nil {
			m.lack(redirects, err)
		}
	}
	for a, rule := range map[ability]string{
		randomDrops: "ip saddr 192.0.2.1 " + loseSome,
		resets:      "ip saddr 192.0.2.1 " + rejectAll,
	} {
		if m.need(a, packets); m.has(a) {
			if err := applyRules(ns, []string{rule}); err != nil {
				m.lack(a, err)
			}
		}
	}
	m.need(redirects, resets)
	_ = command("ip", "netns", "del", ns)
}

func (m *machine) probeDisk(dir string) {
	d, err := newDisk(filepath.Join(dir, "probe"), false)
	if err != nil {
		m.lack(disks, err)
	}
	m.need(directDisks, disks)
	m.need(powerLoss, disks)
	m.need(freezing, disks)
	m.need(oneShot, disks)
	if err != nil {
		return
	}
	if err := firstError(d.freeze, d.thaw); err != nil {
		m.lack(freezing, err)
	}
	m.probeFrail(d)
	if err := probePowerLoss(d); err != nil {
		m.lack(powerLoss, err)
	}
	m.need(oneShot, powerLoss)
	m.need(directDisks, powerLoss)
	_ = d.unmount()
	if m.has(directDisks) {
		m.probeDirect(dir)
	}
}

// probeDirect makes sure that the two kinds of disks differ in what they are there for.
func (m *machine) probeDirect(dir string) {
	d, err := newDisk(filepath.Join(dir, "probe-direct"), true)
	if err != nil {
		m.lack(directDisks, err)
		return
	}
	if direct, err := d.hasDirectWrites(); err != nil || !direct {
		m.lack(directDisks, fmt.Errorf("the kernel says of none that it has them (%v)", err))
	}
	if err := probePowerLoss(d); err != nil {
		m.lack(directDisks, err)
	}
	_ = d.unmount()
	d.remove()
}

// probePowerLoss makes sure that what was synced survives and what was not does not:
// a power loss that loses nothing would prove nothing.
func probePowerLoss(d *disk) error {
	kept, lost := filepath.Join(d.mount, "kept"), filepath.Join(d.mount, "lost")
	file, err := os.Create(kept)
	if err != nil {
		return err
	}
	if err := firstError(
		func() error { _, err := file.WriteString("synced"); return err },
		file.Sync,
		func() error { return os.WriteFile(lost, []byte("not synced"), 0o600) },
		file.Close,
		d.cutPower,
		d.restorePower,
	); err != nil {
		return err
	}
	if _, err := os.Stat(kept); err != nil {
		return fmt.Errorf("a power cut lost a synced file: %w", err)
	}
	if _, err := os.Stat(lost); err == nil {
		return fmt.Errorf("a power cut kept a file that was never synced")
	}
	return os.Remove(kept)
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// tell prints what is lacking and which of the faults that are asked for cannot be tried
// for that. It returns what is lacking although the machine could have it: programs, and
// root.
func (m *machine) tell(w io.Writer, only []string) (missing []string) {
	skipped, impossible, asked := 0, 0, 0
	for _, k := range kinds {
		if len(only) > 0 && !slices.Contains(only, k.name) {
			continue
		}
		asked++
		why := m.lacks[k.needs]
		if why == nil {
			continue
		}
		skipped++
		fmt.Fprintf(w, "chaos: SKIPPED %s: this machine lacks %s: %s\n", k.name, k.needs, why)
		if errors.Is(why, exec.ErrNotFound) || errors.Is(why, errNotRoot) {
			missing = append(missing, fmt.Sprintf("%s was skipped: %s", k.name, why))
		} else {
			impossible++
		}
	}
	if why := m.lacks[directDisks]; why != nil {
		fmt.Fprintf(w, "chaos: SKIPPED disks with direct writes: %s\n", why)
	}
	fmt.Fprintf(w, "chaos: %d of %d kinds of faults can be tried here, %d skipped, %d of them because the kernel cannot\n", asked-skipped, asked, skipped, impossible)
	return missing
}
