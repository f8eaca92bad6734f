import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';

/** Rows of one statement at most, a power of two. */
const most = 16;

/**
 * Inserts rows into a table that numbers them, as many as possible with one statement: opening a table and its indexes, finding
 * the end of each and the next number is most of what a single row takes. Takes the values of all rows, one behind the other,
 * and gives the number of the first, which the others follow. What fails undoes the whole job anyway: OR FAIL spares the notes
 * by which SQLite would undo the statement alone.
 */
export function rowWriter(
  database: DatabaseSync,
  table: string,
  row: string,
): (values: readonly SQLInputValue[]) => number {
  const width = row.split('?').length - 1;
  const statements = new Map<number, StatementSync>();

  function statementFor(rows: number): StatementSync {
    return statements.getOrInsertComputed(rows, () =>
      database.prepare(`INSERT OR FAIL INTO ${table} VALUES ${Array(rows).fill(`(${row})`).join(', ')}`),
    );
  }

  statementFor(1);
  return values => {
    const count = values.length / width;
    let last = 0;
    for (let done = 0, rows = most; done < count; done += rows) {
      while (rows > count - done) {
        rows /= 2;
      }
      const some = rows === count ? values : values.slice(done * width, (done + rows) * width);
      last = Number(statementFor(rows).run(...some).lastInsertRowid);
    }
    return last - count + 1;
  };
}
