import { GatewayError } from '../../lib/errors.ts';
import type { Burden, Hold, Interface, InterfacePort, Urgency } from '../../mesh/interface.ts';
import { AirtimeLedger, type AirtimeParts, type AirtimeView } from '../airtime.ts';
import type { RadioPlan } from '../region.ts';
import type { OpenSerial, SerialLink } from '../serial.ts';
import { PortFinder } from './find.ts';
import { type LoraSettings, loraBitrate, packetTimeOnAir, rnodeMtu } from './lora.ts';
import { SendLine } from './send-line.ts';
import { RNodeSession, type SessionParts } from './session.ts';

export interface RNodeOptions {
  readonly name: string;
  /** A device, or `auto`: the first that answers. */
  readonly port: string;
  readonly plan: RadioPlan;
}

export interface RNodeParts extends Omit<SessionParts, 'name'>, Omit<AirtimeParts, 'clock'> {
  readonly open: OpenSerial;
  /** Paths of the ports that `auto` looks at. Default those of the system. */
  readonly list?: () => Promise<readonly string[]>;
}

/** How a radio is set and, while it is on, what it is and hears: for people. */
export interface RadioFacts extends LoraSettings {
  /** dBm */
  readonly txPower: number;
  readonly device?: string;
  readonly port?: string;
  /** dBm, of boards that tell. */
  readonly noiseFloor?: number;
  /** Percent of the last seconds that somebody sent, of boards that tell. */
  readonly loadPercent?: number;
}

/** Bytes of a full packet. */
const fullPacket = 500;
/** Bytes of a message that fit into a single packet. */
const singlePacket = 295;
/** Bytes of a message that each packet of a resource carries. */
const resourcePart = 464;
/** Bytes of the packets that open a link, prove, advertise and ask, together, as if they were one. */
const around = 400;

/** A LoRa radio with RNode firmware on a serial port. */
export class RNode implements Interface {
  readonly name: string;
  readonly mtu = rnodeMtu;
  readonly bitrate: number;
  readonly shared = true;
  readonly #options: RNodeOptions;
  readonly #parts: RNodeParts;
  readonly #ledger: AirtimeLedger;
  readonly #line: SendLine;
  readonly #finder: PortFinder;
  #session: RNodeSession | undefined;
  #path: string | undefined;

  constructor(options: RNodeOptions, parts: RNodeParts) {
    const { settings, airtimeLimit } = options.plan;
    this.name = options.name;
    this.bitrate = Math.round(loraBitrate(settings));
    this.#options = options;
    this.#parts = parts;
    this.#ledger = new AirtimeLedger(
      { key: Buffer.from(options.name, 'utf8').toString('hex'), limit: airtimeLimit },
      parts,
    );
    this.#line = new SendLine({
      clock: parts.clock,
      ledger: this.#ledger,
      modulation: settings,
      hand: (packet, timeOnAir) =>
        this.#session?.hand(packet, timeOnAir) ?? Promise.reject(offline(this.name)),
    });
    this.#finder = new PortFinder(parts);
  }

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    const link = await this.#open(signal);
    if (link === undefined) {
      return;
    }
    const { settings, txPower, airtimeLimit } = this.#options.plan;
    const over = new AbortController();
    const session = new RNodeSession(
      link,
      { ...settings, txPower, longLimit: airtimeLimit },
      { ...this.#parts, name: this.name },
    );
    let sending: Promise<void> | undefined;
    this.#path = link.path;
    try {
      await session.run(
        {
          ready: () => {
            this.#session = session;
            sending = this.#line.run(over.signal);
            port.ready();
          },
          receive: (packet, quality) => port.receive(packet, quality),
          attach: peer => port.attach(peer),
        },
        signal,
      );
    } finally {
      this.#session = undefined;
      over.abort(offline(this.name));
      await sending;
    }
  }

  async send(packet: Uint8Array, burden?: Burden): Promise<void> {
    if (this.#session === undefined) {
      throw offline(this.name);
    }
    if (packet.length > rnodeMtu) {
      throw new GatewayError('mesh/too-large', `${packet.length} bytes, a LoRa packet carries ${rnodeMtu}`);
    }
    await this.#line.push(packet, burden);
  }

  get backlog(): number {
    return this.#session === undefined ? 0 : this.#line.backlog;
  }

  hold(bytes: number, urgency: Urgency): Hold | undefined {
    const { settings } = this.#options.plan;
    const packets = bytes <= singlePacket ? 1 : Math.ceil(bytes / resourcePart);
    const each = packetTimeOnAir(Math.min(Math.ceil(bytes / packets) + 100, fullPacket), settings);
    const more = packets > 1 ? packetTimeOnAir(around, settings) : 0;
    return this.#ledger.wait(packets * each + more, urgency);
  }

  /** How much of its airtime is used. */
  airtime(): AirtimeView {
    return this.#ledger.view(packetTimeOnAir(fullPacket, this.#options.plan.settings));
  }

  facts(): RadioFacts {
    const { settings, txPower } = this.#options.plan;
    const { device, channel } = this.#session ?? {};
    return {
      ...settings,
      txPower,
      ...(device !== undefined && this.#path !== undefined && { device, port: this.#path }),
      ...(channel && {
        noiseFloor: channel.noiseFloor,
        loadPercent: Math.round(channel.loadShort * 10_000) / 100,
      }),
    };
  }

  async #open(signal: AbortSignal): Promise<SerialLink | undefined> {
    if (signal.aborted) {
      return undefined;
    }
    const { port } = this.#options;
    return port === 'auto' ? await this.#finder.find(signal) : await this.#parts.open(port);
  }
}

function offline(name: string): GatewayError {
  return new GatewayError('radio/offline', `${name}: the radio is not on`, { retryable: true });
}
