package figures

import (
	"bytes"
	"fmt"
	"os"
)

// ReplaceSection puts text between the marks of a section of a page, instead of what
// stands there:
//
//	<!-- NAME: generated, do not edit -->
//	…
//	<!-- NAME: end -->
func ReplaceSection(path, name, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+": generated, do not edit -->", "<!-- "+name+": end -->"
	from, to := bytes.Index(page, []byte(begin)), bytes.Index(page, []byte(end))
	if from < 0 || to < from {
		return fmt.Errorf("page %s: no section between %q and %q", path, begin, end)
	}
	var changed bytes.Buffer
	changed.Write(page[:from+len(begin)])
	fmt.Fprintf(&changed, "\n\n%s\n\n", bytes.TrimSpace([]byte(text)))
	changed.Write(page[to:])
	return os.WriteFile(path, changed.Bytes(), 0o644)
}
