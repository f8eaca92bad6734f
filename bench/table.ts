import { holds } from './figures.ts';
import type { Bound, Row, Spread } from './row.ts';

/** The rows as a table whose columns are aligned, with the notes below it. */
export function formatTable(rows: readonly Row[]): string {
  const notes: string[] = [];
  const lines = rows.map(row => cells(row, notes));
  const head = ['measure', 'unit', 'reference', 'ours', 'ratio', 'bound', ''];
  const widths = head.map((title, column) =>
    Math.max(title.length, ...lines.map(line => line[column]?.length ?? 0)),
  );
  const draw = (line: readonly string[]) =>
    line
      .map((cell, column) =>
        column < 2 || column === 6 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  const rule = widths.map(width => '-'.repeat(width)).join('  ');
  return [draw(head), rule, ...lines.map(draw), '', ...notes.map((note, at) => `[${at + 1}] ${note}`)].join(
    '\n',
  );
}

function cells(row: Row, notes: string[]): string[] {
  const { name, unit, reference, ours, ratio, bound, note } = row;
  return [
    note === undefined ? name : `${name} [${noteNumber(note, notes)}]`,
    unit,
    reference === undefined ? '-' : withSpread(reference, row.referenceSpread),
    withSpread(ours, row.spread),
    ratio === undefined ? '-' : `${formatNumber(ratio)}x`,
    bound === undefined ? '' : formatBound(bound),
    verdict(holds(row)),
  ];
}

function noteNumber(note: string, notes: string[]): number {
  const at = notes.indexOf(note);
  return at >= 0 ? at + 1 : notes.push(note);
}

function withSpread(value: number, spread: Spread | undefined): string {
  const [least, most] = spread ?? [value, value];
  return least === most
    ? formatNumber(value)
    : `${formatNumber(value)} [${formatNumber(least)}..${formatNumber(most)}]`;
}

function formatBound(bound: Bound): string {
  return 'atMost' in bound ? `<= ${bound.atMost}` : `>= ${bound.atLeast}`;
}

function verdict(held: boolean | undefined): string {
  return held === undefined ? '' : held ? 'holds' : 'MISSED';
}

/** Three digits that say something. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  return size >= 100 || value === 0 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}
