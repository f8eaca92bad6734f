import { equal } from '../../lib/bytes.ts';
import type { Cancel } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Quality } from '../interface.ts';
import type { Lesson } from './announce-intake.ts';
import type { InterfaceHandle } from './dispatch.ts';
import type { Forwarding } from './forwarding.ts';
import { pathLifetime } from './interface-policy.ts';
import type { Known, KnownDestinations } from './known.ts';
import { Listeners } from './listeners.ts';
import type { Ways } from './ways.ts';

/** An announce that was verified and taught us a path. The bytes are the listener's to read, not to change. */
export interface Announced extends Known {
  readonly hops: number;
  readonly interfaceName: string;
  /** It answers a path request, ours or somebody else's. */
  readonly pathResponse: boolean;
  readonly quality: Quality | undefined;
}

export interface AnnounceFilter {
  /** Only destinations of this name hash (10 B). */
  readonly nameHash?: Uint8Array;
  /** Also announces that answer path requests. Default true. */
  readonly pathResponses?: boolean;
}

export interface LessonsParts {
  readonly log: Log;
  readonly known: KnownDestinations;
  readonly ways: Ways;
  readonly forwarding: Forwarding | undefined;
  readonly interfaceNamed: (name: string) => InterfaceHandle | undefined;
}

/** What verified announces teach: who is there, which way they are, and who is to hear of it. */
export class Lessons {
  readonly #parts: LessonsParts;
  readonly #onAnnounce: Listeners<Announced>;

  constructor(parts: LessonsParts) {
    this.#parts = parts;
    this.#onAnnounce = new Listeners(parts.log);
  }

  /** See `Transport.onAnnounce`. */
  onAnnounce(listener: (announced: Announced) => void, filter: AnnounceFilter): Cancel {
    return this.#onAnnounce.add(announced => {
      const wanted = filter.nameHash === undefined || equal(filter.nameHash, announced.nameHash);
      if (wanted && (filter.pathResponses !== false || !announced.pathResponse)) {
        listener(announced);
      }
    });
  }

  /** A verified announce offers a better way than the one known. `key`: its destination hash, hex. */
  learn(key: string, lesson: Lesson): void {
    const { known, ways, forwarding, interfaceNamed } = this.#parts;
    const { destinationHash, identity, nameHash, appData, ratchet, packetHash, randomBlob } = lesson;
    const { hops, nextHop, interfaceName, pathResponse, quality, announce, announceHasRatchet } = lesson;
    const lifetime = pathLifetime(interfaceNamed(interfaceName)?.policy?.mode);
    const before = ways.known(key);
    const way = { destinationHash, hops, nextHop, interfaceName, packetHash, randomBlob, lifetime };
    const path = ways.take(key, way);
    const heard = {
      destinationHash,
      identity,
      nameHash,
      appData,
      ratchet,
      packetHash,
      announce,
      announceHasRatchet,
    };
    const now = known.remember(key, heard);
    forwarding?.relay.learnt(key, lesson);
    ways.changed(path, before);
    this.#onAnnounce.tell({ ...now, hops, interfaceName, pathResponse, quality });
  }
}
