package layout

// UsageError tells of a layout that cannot be, whatever the image is.
type UsageError struct{ msg, hint string }

func (e *UsageError) Error() string { return e.msg }

// ExitCode is 2, that of wrong usage.
func (e *UsageError) ExitCode() int { return 2 }

// Hint says what would be right.
func (e *UsageError) Hint() string { return e.hint }
