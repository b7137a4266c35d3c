// Package report writes what a World, or a drill against real servers, came to: as text and HTML for people, and as JSON
// for machines. One engine serves both.
package report
