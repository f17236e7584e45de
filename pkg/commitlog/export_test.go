package commitlog

import "path/filepath"

// ParseSegmentName is the first entry of the segment file at path.
func ParseSegmentName(path string) (Index, bool) { return parseSegmentName(filepath.Base(path)) }
