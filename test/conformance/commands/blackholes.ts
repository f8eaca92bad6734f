import type { Clock } from '../../../src/lib/clock.ts';
import type { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { Blackhole, type BlackholeEntry } from '../../../src/mesh/reticulum/blackhole.ts';
import {
  type Blackholed,
  decodeBlackholeList,
  encodeBlackholeList,
} from '../../../src/mesh/reticulum/blackhole-wire.ts';
import { hashLength } from '../../../src/mesh/reticulum/packet.ts';
import type { MeshStorage, StoredEntry } from '../../../src/mesh/storage.ts';
import type { Command, Commands, Params, Result } from '../command.ts';
import { bytesOf, hex, numberIf, textIf, textOf, textsOf } from '../params.ts';
import { instanceOf } from './instance.ts';

/** The name under which the reference keeps the list of its own. */
const local = 'local';

export interface BlackholesParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly own: Uint8Array;
}

/**
 * The blackholes of a node whose storage the test may rename and empty: they are loaded anew from it as they are at a
 * start of the program.
 */
export class Blackholes {
  readonly #parts: BlackholesParts;
  /** By the key of the storage. */
  readonly #files = new Map<string, Uint8Array>();
  readonly #listeners: (() => void)[] = [];
  #sources: readonly Uint8Array[] = [];
  #current: Blackhole;
  /** ms by which wall time is behind: an entry that is over was made before it was. */
  #behind = 0;

  constructor(parts: BlackholesParts) {
    this.#parts = parts;
    this.#current = this.#load(true);
  }

  get size(): number {
    return this.#current.size;
  }

  has(identityHash: Uint8Array): boolean {
    return this.#current.has(identityHash);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.push(listener);
    const cancel = this.#current.onChange(listener);
    return cancel;
  }

  entries(): BlackholeEntry[] {
    return this.#current.entries();
  }

  /** The list as it is answered to who asks for it. */
  answer(): readonly Blackholed[] {
    return decodeBlackholeList(encodeBlackholeList(this.entries()), this.#parts.own);
  }

  async add(identityHash: Uint8Array, until: number | undefined, reason: string | undefined): Promise<void> {
    const now = this.#parts.clock.now();
    this.#behind = until !== undefined && until <= now ? now - until + 1000 : 0;
    try {
      await this.#current.add(identityHash, { until, reason });
    } finally {
      this.#behind = 0;
    }
  }

  remove(identityHash: Uint8Array): Promise<boolean> {
    return this.#current.remove(identityHash);
  }

  /** Nothing is left but what is stored. */
  clear(): void {
    this.#current = this.#load(false);
    this.#tell();
  }

  /** As at a start. What the node has in mind is stored by then, as it always is. */
  async reload(): Promise<void> {
    const { own } = this.#parts;
    for (const { identityHash, source, until, reason } of this.entries()) {
      if (hex(source) === hex(own)) await this.#current.add(identityHash, { until, reason });
    }
    this.#current = this.#load(true);
    this.#tell();
  }

  useSources(sources: readonly Uint8Array[]): void {
    this.#sources = sources;
  }

  files(): readonly { readonly name: string; readonly size: number }[] {
    return [...this.#files].map(([key, { length }]) => ({ name: this.#nameOf(key), size: length }));
  }

  empty(): number {
    const count = this.#files.size;
    this.#files.clear();
    return count;
  }

  rename(from: string, to: string): void {
    const bytes = this.#files.get(this.#keyOf(from));
    if (bytes === undefined) throw new Error(`there is no list named ${from}`);
    this.#files.delete(this.#keyOf(from));
    this.#files.set(this.#keyOf(to), bytes);
  }

  #nameOf(key: string): string {
    return key === hex(this.#parts.own) ? local : key;
  }

  #keyOf(name: string): string {
    return name === local ? hex(this.#parts.own) : name;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  #load(reads: boolean): Blackhole {
    const { clock, counters, own } = this.#parts;
    const blackhole = new Blackhole({
      clock: {
        now: () => clock.now() - this.#behind,
        monotonic: () => clock.monotonic(),
        sleep: (delay, signal) => clock.sleep(delay, signal),
        after: (delay, callback) => clock.after(delay, callback),
      },
      log: silentLog,
      counters,
      storage: this.#storage(reads),
      own,
      sources: this.#sources,
    });
    for (const listener of this.#listeners) blackhole.onChange(listener);
    return blackhole;
  }

  /** A list that no source gives any more is forgotten at a start; the test goes on with its file. */
  #storage(reads: boolean): MeshStorage {
    const files = this.#files;
    return {
      *load(): Iterable<StoredEntry> {
        if (reads) for (const [key, value] of files) yield { key, value };
      },
      save: async (_, key, value) => void files.set(key, value.slice()),
      remove: async () => {},
    };
  }
}

const identityOf = (params: Params) => bytesOf(params, 'identity_hash', hashLength);

const entryOf = (
  of: Pick<BlackholeEntry, 'identityHash' | 'until' | 'reason'>,
  source: Uint8Array,
): Result => ({
  identity_hash: hex(of.identityHash),
  source: hex(source),
  until: of.until === undefined ? null : of.until / 1000,
  reason: of.reason ?? null,
});

const readTable: Command = params => {
  const entries = instanceOf(params).blackholes.entries();
  return { count: entries.length, entries: entries.map(entry => entryOf(entry, entry.source)) };
};

export const blackholeCommands: Commands = {
  behavioral_blackhole_identity: async params => {
    const { blackholes } = instanceOf(params);
    const until = numberIf(params, 'until');
    const reason = textIf(params, 'reason');
    await blackholes.add(identityOf(params), until === undefined ? undefined : until * 1000, reason);
    return { blackholed: true };
  },
  behavioral_unblackhole_identity: async params => ({
    lifted: await instanceOf(params).blackholes.remove(identityOf(params)),
  }),
  behavioral_read_blackhole_table: readTable,
  behavioral_blackhole_list_handler: params => {
    const { blackholes } = instanceOf(params);
    const answer = blackholes.answer();
    const known = new Set(blackholes.entries().map(({ identityHash }) => hex(identityHash)));
    return {
      is_blackhole_table:
        answer.length === known.size && answer.every(({ identityHash }) => known.has(hex(identityHash))),
      count: answer.length,
      entries: answer.map(entry => entryOf(entry, entry.origin)),
    };
  },
  behavioral_blackhole_reload: async params => {
    const { blackholes } = instanceOf(params);
    await blackholes.reload();
    return { count: blackholes.size };
  },
  behavioral_blackhole_clear: params => {
    instanceOf(params).blackholes.clear();
    return { cleared: true };
  },
  behavioral_blackhole_storage_files: params => ({
    dir: 'blackhole',
    files: instanceOf(params).blackholes.files(),
  }),
  behavioral_blackhole_clear_storage: params => ({ removed: instanceOf(params).blackholes.empty() }),
  behavioral_blackhole_rename_storage: params => {
    instanceOf(params).blackholes.rename(textOf(params, 'src'), textOf(params, 'dst'));
    return { renamed: true };
  },
  behavioral_blackhole_set_sources: params => {
    const sources = textsOf(params, 'sources').map(text => Uint8Array.fromHex(text));
    instanceOf(params).blackholes.useSources(sources);
    return { count: sources.length };
  },
};
