package extract

// usageError is a mistake in what the caller asked for, found before anything
// was read.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) ExitCode() int { return 2 }
func (e *usageError) Hint() string  { return e.hint }

// notFoundError names something that the boot directory does not have.
type notFoundError struct{ msg, hint string }

func (e *notFoundError) Error() string { return e.msg }
func (e *notFoundError) ExitCode() int { return 4 }
func (e *notFoundError) Hint() string  { return e.hint }
