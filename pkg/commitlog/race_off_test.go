//go:build !race

package commitlog_test

const raceFactor = 1
