//go:build unix

package ocilayout

import "golang.org/x/sys/unix"

// openFlags keep an open from following a link or waiting for a fifo.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK
