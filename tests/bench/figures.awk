# SPDX-License-Identifier: Apache-2.0 OR MIT
# Samples and figures to a table. First file: KEY<TAB>VALUE, one sample a line, in the order of the rounds. Second:
# SECTION<TAB>LABEL<TAB>KIND<TAB>KEY<TAB>KEY2<TAB>SCALE<TAB>UNIT<TAB>DIGITS<TAB>COMPARE<TAB>TARGET with KIND
#   value  KEY / SCALE          ratio  KEY / KEY2, round by round
#   diff   (KEY - KEY2) / SCALE, round by round
#   skip   not measured; the reason stands in the place of KEY
# The figure is the median over the rounds, with the smallest and the largest. -v style=text|markdown|json, -v only=SECTION.

function sorted(a, n,    i, j, v) {
	for (i = 2; i <= n; i++) {
		v = a[i]
		for (j = i - 1; j > 0 && a[j] > v; j--) a[j + 1] = a[j]
		a[j + 1] = v
	}
}
function quoted(text) {
	gsub(/\\/, "\\\\", text)
	gsub(/"/, "\\\"", text)
	return "\"" text "\""
}
function row(section, label, figure, range, target, verdict) {
	if (style == "markdown") {
		printf "| %s | %s | %s | %s | %s | %s |\n", section, label, figure, range, target, verdict
	} else {
		printf "  %-58s %14s  %-22s %-10s %s\n", label, figure, range, target, verdict
	}
}

BEGIN {
	FS = "\t"
	if (style == "markdown") {
		print "| section | what | median | min – max | target | |"
		print "|---|---|---:|---|---|---|"
	}
	if (style == "json") printf "\"figures\":["
}
FNR == NR { sample[$1, ++count[$1]] = $2; if (!($1 in known)) { known[$1]; order[++keys] = $1 } next }
only != "" && $1 != only { next }
{
	if ($3 == "skip") {
		if (style == "json") printf "%s{\"section\":%s,\"label\":%s,\"skipped\":%s}", comma, quoted($1), quoted($2), quoted($4)
		else row($1, $2, "skipped", $4, "", "")
		comma = ","
		next
	}
	n = count[$4]
	if ($3 != "value" && count[$5] < n) n = count[$5]
	if (n == 0) next
	for (i = 1; i <= n; i++) {
		if ($3 == "value") v[i] = sample[$4, i] / $6
		if ($3 == "ratio") v[i] = sample[$5, i] ? sample[$4, i] / sample[$5, i] : 0
		if ($3 == "diff") v[i] = (sample[$4, i] - sample[$5, i]) / $6
	}
	sorted(v, n)
	median = n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
	form = "%." $8 "f"
	figure = sprintf(form, median)
	verdict = ""
	if ($9 == "<=") verdict = figure + 0 <= $10 + 0 ? "ok" : "MISSED"
	if ($9 == ">=") verdict = figure + 0 >= $10 + 0 ? "ok" : "MISSED"
	sign = $9 == "<=" ? "≤ " : $9 == ">=" ? "≥ " : ""
	if (style == "json") {
		printf "%s{\"section\":%s,\"label\":%s,\"unit\":%s,\"rounds\":%d,\"median\":%.9g,\"min\":%.9g,\"max\":%.9g", comma,
			quoted($1), quoted($2), quoted($7), n, median, v[1], v[n]
		if (verdict != "") printf ",\"compare\":%s,\"target\":%s,\"met\":%s", quoted($9), $10, verdict == "ok" ? "true" : "false"
		printf "}"
		comma = ","
	} else {
		unit = $7 == "" ? "" : " " $7
		range = n > 1 ? sprintf(form " – " form, v[1], v[n]) : ""
		row($1, $2, figure unit, range, $9 == "" ? "" : sign $10 unit, verdict)
	}
}
END {
	if (style != "json") exit
	printf "],\"samples\":{"
	for (k = 1; k <= keys; k++) {
		printf "%s%s:[", (k > 1 ? "," : ""), quoted(order[k])
		for (i = 1; i <= count[order[k]]; i++) printf "%s%.12g", (i > 1 ? "," : ""), sample[order[k], i]
		printf "]"
	}
	printf "}"
}
