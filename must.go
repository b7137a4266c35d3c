package holdfast

// Must returns v, or panics with err. It is for main functions and examples, where a wrong
// configuration should end the program; services handle the error.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
