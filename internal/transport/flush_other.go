//go:build !linux

package transport

import "os"

func startFlush(*os.File, int64, int64) {}
