import type { RemoteId } from '../../gateway/message.ts';

/** Ids remembered; without one the newest id of a message is the best guess. */
const idsMost = 10_000;

/**
 * Which peer knows which LXMF id. The id covers the destination, so a message sent to several peers has
 * an id for each, and a relation to it must name the one its reader knows.
 */
export class KnownBy {
  readonly #peers = new Map<RemoteId, string>();

  /** `peer`: 32 hex. */
  note(id: RemoteId, peer: string): void {
    this.#peers.delete(id);
    this.#peers.set(id, peer);
    if (this.#peers.size > idsMost) {
      this.#peers.delete(this.#peers.keys().next().value!);
    }
  }

  /** Of a message's ids the one this peer knows, or else the newest that no other peer is known for; undefined without any. */
  choose(ids: readonly RemoteId[], peer: string): RemoteId | undefined {
    return (
      ids.find(id => this.#peers.get(id) === peer) ?? ids.findLast(id => !this.#peers.has(id)) ?? undefined
    );
  }
}
