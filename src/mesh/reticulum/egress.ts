import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { Frequency } from './burst.ts';
import type { InterfaceHandle } from './dispatch.ts';

/** Path requests a second that leave by an interface where it is limited. Source: RNS 1.5.7. */
const defaultRate = 5;

/** Keeps what is searched for others from leaving an interface more often than it is told. Off by default. */
export class Egress {
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #asked = new WeakMap<InterfaceHandle, Frequency>();

  constructor({ clock, counters }: { readonly clock: Clock; readonly counters: Counters }) {
    this.#clock = clock;
    this.#counters = counters;
  }

  /** A path request leaves by an interface, whoever wants to know. */
  note(iface: InterfaceHandle): void {
    if (iface.policy?.egress?.limited === true) {
      this.#frequency(iface).note(this.#clock.monotonic());
    }
  }

  /** Whether one that others want answered may leave by it; counted where not. */
  allows(iface: InterfaceHandle): boolean {
    const { limited, pathRequestRate = defaultRate } = iface.policy?.egress ?? {};
    if (limited !== true || !this.#frequency(iface).exceeds(pathRequestRate, this.#clock.monotonic())) {
      return true;
    }
    this.#counters.add('path/egress-limited');
    return false;
  }

  #frequency(iface: InterfaceHandle): Frequency {
    let frequency = this.#asked.get(iface);
    if (frequency === undefined) {
      frequency = new Frequency();
      this.#asked.set(iface, frequency);
    }
    return frequency;
  }
}
