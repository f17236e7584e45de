package commitlog

import "golang.org/x/sys/unix"

// sectorErrors are what the kernel makes of a failed read of a block device: of a medium
// error (ENODATA past the page cache, EIO through it), of a checksum that does not fit
// (EILSEQ, or EIO), of anything else (EIO).
var sectorErrors = []error{unix.EIO, unix.ENODATA, unix.EILSEQ}
