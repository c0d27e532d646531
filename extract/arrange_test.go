package extract

// exitCode is the code that an error asks for, 0 for nil and 1 for none.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(interface{ ExitCode() int }); ok {
		return e.ExitCode()
	}
	return 1
}
