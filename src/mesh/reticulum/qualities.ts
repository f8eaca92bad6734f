import { toHex } from '../../lib/bytes.ts';
import type { Quality } from '../interface.ts';

/** Packets of which it is remembered how well they were heard. Source: RNS 1.5.7. */
const kept = 512;

/** How well packets were heard, for programs that got them through here; the oldest gives way. */
export class Qualities {
  readonly #kept = new Map<string, Quality>();

  /** `hash`: of the packet, 32 B. */
  add(hash: Uint8Array, quality: Quality): void {
    const key = toHex(hash);
    this.#kept.delete(key);
    this.#kept.set(key, quality);
    if (this.#kept.size > kept) {
      this.#kept.delete(this.#kept.keys().next().value as string);
    }
  }

  get(hash: Uint8Array): Quality | undefined {
    return this.#kept.get(toHex(hash));
  }
}
