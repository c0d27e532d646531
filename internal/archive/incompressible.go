package archive

// looksCompressed tells whether data is not worth more than a quick try, because it
// is compressed or encrypted already, as most of a boot tree is. It depends on the
// data alone: the blob must be the same everywhere.
//
// It counts the bytes of a sample. Where all values are equally likely, the sum over
// (count-mean)²/mean is near 255. Images compressed with xz come close to that, of
// those with zstd nearly all stay below 1000, where an encoder finds less than two
// percent. Text and code reach tens of thousands.
func looksCompressed(data []byte) bool {
	const (
		pieces, piece = 8, 512
		mean          = pieces * piece / 256
		limit         = 1000
	)
	if len(data) < pieces*piece {
		return false
	}
	var count [256]int
	step := (len(data) - piece) / (pieces - 1)
	for i := range pieces {
		for _, b := range data[i*step : i*step+piece] {
			count[b]++
		}
	}
	var sum int
	for _, n := range count {
		sum += (n - mean) * (n - mean)
	}
	return sum < limit*mean
}
