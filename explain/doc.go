// Package explain says of an image's name what the shim does with it, and why:
// which rule of the configuration makes it ask which registry, what each of them
// answers and whether that was remembered, what the ledger and the runtime have
// of it, and what a pull would bring now.
//
// The running daemon explains by its own cache, circuits and ledger; a command
// can do so without it, by the file alone. The answer holds no secret.
package explain
