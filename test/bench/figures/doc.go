// Package figures keeps what measurements yield: results and their medians, JSON, a
// Markdown table, plots as SVG, and the generated sections of a page. It measures
// nothing itself.
package figures
