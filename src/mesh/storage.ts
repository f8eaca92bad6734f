/**
 * What the mesh asks to be remembered: small values by kind and key. The mesh encodes them; whoever
 * implements this knows no meaning. Everything loaded is treated like bytes from outside: an entry
 * that no longer decodes is dropped and counted, never fatal.
 */
export interface MeshStorage {
  /** Every entry of a kind, in no order. Read at start only. */
  load(kind: StorageKind): Iterable<StoredEntry>;
  /** Resolves when durable. Saving again under a key replaces. */
  save(kind: StorageKind, key: string, value: Uint8Array): Promise<void>;
  /** Resolves when durable; a key that is not there is no error. */
  remove(kind: StorageKind, key: string): Promise<void>;
}

/**
 * `identity-heard`: destination hash → announced public key, app data and ratchet. `path`: destination
 * hash → path. `ratchet`: own destination hash → its ratchet private keys. `ticket`: for LXMF. `airtime`: a
 * radio's name → what it has sent in the last hour. `blackhole`: identity hash of whose list it is → that list.
 * `discovered`: transport id and name → an interface of somebody else's that was announced. `tunnel`: id → a far end
 * that is known again when it connects anew. `packet-hash`: number of a chunk → hashes of packets heard lately.
 */
export type StorageKind =
  | 'identity-heard'
  | 'path'
  | 'ratchet'
  | 'ticket'
  | 'airtime'
  | 'blackhole'
  | 'discovered'
  | 'tunnel'
  | 'packet-hash';

export interface StoredEntry {
  /** Lower-case hex. */
  readonly key: string;
  readonly value: Uint8Array;
}
