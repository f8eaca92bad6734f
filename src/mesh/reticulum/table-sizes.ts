/**
 * How full tables are now, by a name in kebab-case that is of the code, never from outside: entries, or bytes where
 * the name says so. For metrics, and for tests that hold every table to its bound.
 */
export type TableSizes = Readonly<Record<string, number>>;
