package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// The plot has a panel for each workload with a bar for each contender. If calls are made
// one at a time, the bar is the p50 added to the direct way; if many calls are made at
// once, it is the throughput as a share of the direct way. A thin line spans the rounds.
const (
	columns    = 3
	panelWidth = 400
	barHeight  = 15
	labelWidth = 96
	valueWidth = 84
	margin     = 24
	titleSpace = 88
	barRoom    = panelWidth - labelWidth - valueWidth
)

// bar is one contender's bar in a panel.
type bar struct {
	name   string
	figure spread
	label  string // the value, or the reason why there is none
}

// panel is the part of the plot for one workload.
type panel struct {
	title, unit string
	mark        float64 // value of the vertical line; 0: no line
	bars        []bar
}

func (r *results) panels() []panel {
	var panels []panel
	for _, t := range r.Tables {
		p := panel{title: t.Name, unit: "throughput, share of direct", mark: 1}
		adds := t.Workers == 1
		if adds {
			p.unit, p.mark = "added p50, µs", 0
		}
		for _, o := range t.Outcomes {
			if o.Contender == "direct" {
				continue
			}
			b := bar{name: o.Contender}
			switch {
			case r.program(o.Contender).Missing == o.Failed && o.Failed != "":
				b.label = shortened(o.Failed)
			case o.Failed != "":
				b.label = "failed"
			case adds:
				b.figure = t.added(o.Contender, func(s sample) float64 { return s.P50 })
				b.label = number(b.figure.Median)
			default:
				b.figure = t.throughput(o.Contender, "direct")
				b.label = number(b.figure.Median)
			}
			p.bars = append(p.bars, b)
		}
		panels = append(panels, p)
	}
	return panels
}

// shortened returns a reason cut to the width of a panel.
func shortened(reason string) string {
	const enough = 40
	if len(reason) > enough {
		return reason[:enough] + "..."
	}
	return reason
}

// drawing is a buffer for SVG.
type drawing struct{ bytes.Buffer }

func (d *drawing) text(x, y float64, size int, attributes, content string) {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(content))
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" font-size="%d" %s>%s</text>`+"\n", x, y, size, attributes, escaped.String())
}

func (d *drawing) box(x, y, width, height float64, fill string) {
	fmt.Fprintf(d, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, width, height, fill)
}

func (d *drawing) line(x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, colour)
}

// plot returns the plot of all workloads as SVG.
func (r *results) plot() []byte {
	panels := r.panels()
	bars := 0
	for _, p := range panels {
		bars = max(bars, len(p.bars))
	}
	panelHeight := 52 + bars*(barHeight+5)
	rows := (len(panels) + columns - 1) / columns
	width, height := 2*margin+columns*panelWidth, titleSpace+rows*panelHeight+margin
	d := &drawing{}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="DejaVu Sans, Verdana, sans-serif">`+"\n", width, height, width, height)
	d.box(0, 0, float64(width), float64(height), "#fff")
	d.text(margin, 32, 18, `font-weight="bold"`, "Between a CRI client and its runtime")
	note := fmt.Sprintf("%d cores (load average before: %s), %s, %s, %d rounds.", r.Machine.Cores, number(r.Machine.Load), r.Machine.Kernel, r.Machine.Go, r.Rounds)
	if r.Quick {
		note += " A quick run, too short for conclusions."
	}
	d.text(margin, 52, 11, `fill="#555"`, note)
	d.text(margin, 68, 11, `fill="#555"`, "Bars: the median of the rounds; thin lines: from the minimum to the maximum, with an arrow if that is outside the panel. Added p50: shorter is better. Throughput: longer is better, the vertical line is direct.")
	for n, p := range panels {
		d.panel(p, float64(margin+n%columns*panelWidth), float64(titleSpace+n/columns*panelHeight))
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

func (d *drawing) panel(p panel, left, top float64) {
	d.text(left, top+14, 12, `font-weight="bold"`, p.title)
	d.text(left, top+29, 10, `fill="#555"`, p.unit)
	zero, scale := left+labelWidth, p.scale()
	bottom := top + 38 + float64(len(p.bars))*(barHeight+5)
	if p.mark > 0 {
		d.line(zero+p.mark*scale, top+36, zero+p.mark*scale, bottom, "#ccc")
	}
	for n, b := range p.bars {
		d.bar(b, zero, top+38+float64(n)*(barHeight+5), scale)
	}
	d.line(zero, top+36, zero, bottom, "#222")
}

// scale returns the length of one unit. It leaves room for the greatest median and some
// of its variation, but not for outliers of single rounds.
func (p panel) scale() float64 {
	greatest := p.mark
	for _, b := range p.bars {
		greatest = max(greatest, min(b.figure.Most, b.figure.Median*1.5))
	}
	if greatest <= 0 {
		return 0
	}
	return barRoom / greatest
}

// bar draws a contender's name, bar, line of rounds and value. A line that exceeds the
// panel ends in an arrow.
func (d *drawing) bar(b bar, zero, y, scale float64) {
	base, middle := y+barHeight-4, y+barHeight/2
	d.text(zero-6, base, 11, `text-anchor="end"`, b.name)
	if b.figure.Rounds == 0 {
		d.text(zero+4, base, 10, `fill="#a33" font-style="italic"`, b.label)
		return
	}
	d.box(zero, y, max(b.figure.Median*scale, 0), barHeight, colour(b.name))
	least, most := max(b.figure.Least*scale, 0), max(b.figure.Most*scale, 0)
	if most > barRoom {
		most = barRoom + 6
		d.line(zero+most-4, middle-3, zero+most, middle, "#222")
		d.line(zero+most-4, middle+3, zero+most, middle, "#222")
	}
	if most > least {
		d.line(zero+min(least, most), middle, zero+most, middle, "#222")
	}
	d.text(zero+barRoom+valueWidth-24, base, 11, `text-anchor="end"`, b.label)
}

// colour returns a color for the shim, the relay or another contender.
func colour(name string) string {
	switch {
	case strings.HasPrefix(name, "shim, frames"):
		return "#1f77b4"
	case strings.HasPrefix(name, "shim"):
		return "#7fb6dc"
	case name == "relay":
		return "#8a8a8a"
	}
	return "#cfc3a8"
}
