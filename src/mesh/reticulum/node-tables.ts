import type { Duplicates } from './duplicates.ts';
import type { Forwarding } from './forwarding.ts';
import type { KnownDestinations } from './known.ts';
import type { PathTable } from './path-table.ts';

/** The tables a node lives by, for whoever looks into it: tests and diagnosis. */
export interface NodeTables {
  /** Hashes of packets that were heard or sent. */
  readonly heard: Duplicates;
  readonly known: KnownDestinations;
  readonly paths: PathTable;
  /** What it does for others; undefined on a node that does nothing for them. */
  readonly forwarding: Forwarding | undefined;
}
