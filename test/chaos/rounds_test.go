package chaos

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		wall       time.Duration
		only       []string
		rounds     int
		purging    int
		everything time.Duration
	}{
		{6 * time.Second, nil, 1, 0, 6 * time.Second},
		{120 * time.Second, nil, 2, 1, 120 * time.Second},
		{time.Hour, nil, 12, 6, time.Hour},
		{20 * time.Second, []string{"absence"}, 1, 1, 20 * time.Second},
		{20 * time.Second, []string{"absence", "kill"}, 1, 0, 20 * time.Second},
	} {
		all, purging, sum := plan(test.wall, test.only), 0, time.Duration(0)
		for _, r := range all {
			sum += r.wall
			if r.retention {
				purging++
			}
			if r.wall > 2*roundFor*3/5 {
				t.Errorf("%v: a round of %v", test.wall, r.wall)
			}
		}
		if len(all) != test.rounds || purging != test.purging || (sum-test.everything).Abs() > time.Second {
			t.Errorf("%v of %v: %d rounds, %d with retention, %v", test.wall, test.only, len(all), purging, sum)
		}
	}
}

// A name that is misspelt would try nothing, and nothing would fail.
func TestUnknownKindsAreRefused(t *testing.T) {
	saved := *onlyFlag
	defer func() { *onlyFlag = saved }()
	for _, k := range kinds {
		*onlyFlag = k.name
		if err := checkFlags(); err != nil {
			t.Error(err)
		}
	}
	*onlyFlag = "kill,pauze"
	if err := checkFlags(); err == nil || !strings.Contains(err.Error(), `"pauze"`) || !strings.Contains(err.Error(), "pause, power") {
		t.Errorf("%v", err)
	}
}

// TestProvenBytes: damage is made only where something behind it proves it to be damage.
func TestProvenBytes(t *testing.T) {
	path := t.TempDir() + "/a.seg"
	content := make([]byte, 10*blockBytes)
	for _, block := range []int{1, 2, 5, 6} {
		copy(content[block*blockBytes:], frameMagic)
	}
	must(t, os.WriteFile(path, content, 0o600))
	if got := provenBytes(path); got != 5*blockBytes {
		t.Errorf("%d bytes of frames in the blocks 1, 2, 5 and 6, want all before block 5", got)
	}
	must(t, os.WriteFile(path, content[:5*blockBytes], 0o600))
	if got := provenBytes(path); got != 0 {
		t.Errorf("%d bytes with two frames", got)
	}
}
