// Package lint holds the rules of the house as tests. It has no other code: a rule that
// is not checked is a wish.
package lint
