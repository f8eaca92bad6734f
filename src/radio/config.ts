import { resolve } from 'node:path';
import { z } from 'zod';
import { type FieldError, GatewayError, isGatewayError } from '../lib/errors.ts';
import {
  type AnnouncePolicy,
  type EgressPolicy,
  type IngressPolicy,
  type InterfaceMode,
  type InterfacePolicy,
  interfaceModes,
} from '../mesh/reticulum/interface-policy.ts';
import { discoverableListener, discoverableRadio } from './discoverable.ts';
import { addressTypes, scopes } from './lan/group.ts';
import { instanceName } from './local-config.ts';
import { planRadio, type RadioPlan, readRegions } from './region.ts';
import { loraBandwidths, rnodeMtu } from './rnode/lora.ts';
import { kissShape, pipeShape, serialShape } from './wired-config.ts';

const port = z.int().min(1).max(65_535).describe('TCP port');
const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/i, 'a name of letters, digits and hyphens, at most 32')
  .describe('unique and stable: paths are remembered under it');

/** bit/s below which a bitrate is none. */
export const leastBitrate = 5;

const seconds = z.int().min(0).max(31_536_000);
const rate = z.number().min(0.01).max(1000);

/** What may stand on any interface: how the mesh uses it, and the peers it finds. */
const common = {
  name,
  enabled: z.boolean().default(true).describe('whether it is used'),
  mode: z.enum(interfaceModes).default('full').describe('interface mode'),
  outgoing: z.boolean().default(true).describe('whether anything is sent over it'),
  announce: z
    .strictObject({
      cap: z.number().min(0.1).max(100).optional().describe('% of the bitrate for announces of others; 2'),
      rateTarget: seconds.optional().describe('s between announces of one destination; 3600'),
      rateGrace: z.int().min(0).max(10_000).optional().describe('how many may come sooner; 5'),
      ratePenalty: seconds.optional().describe('s more of not passing them on; 0'),
    })
    .optional()
    .describe('what announces of others may cost'),
  gravity: z
    .int()
    .min(-1000)
    .max(1000)
    .optional()
    .describe('which interface is preferred where the same announce comes no farther over it; 0'),
  ingress: z
    .strictObject({
      limited: z.boolean().default(true).describe('whether floods are held back'),
      announceRate: rate.optional().describe('announces of unknown destinations a second; 10'),
      announceRateYoung: rate.optional().describe('the same of a young interface; 3'),
      pathRequestRate: rate.optional().describe('path requests a second; 8'),
      pathRequestRateYoung: rate.optional().describe('the same of a young interface; 3'),
      youngFor: seconds.optional().describe('s for which it is young; 7200'),
      calmTime: seconds.optional().describe('s below its rate until a burst is over; 15'),
      penalty: seconds.optional().describe('s from its beginning until anything is let in; 15'),
      held: z.int().min(0).max(4096).optional().describe('announces that wait; 256'),
      releaseEvery: seconds.min(1).optional().describe('s from one that is let in to the next; 5'),
    })
    .optional()
    .describe('how much that is new may come in before it waits'),
  egress: z
    .strictObject({
      limited: z.boolean().default(false).describe('whether searches for others are limited'),
      pathRequestRate: rate.optional().describe('path requests a second; 5'),
    })
    .optional()
    .describe('how often path requests for others leave by it'),
  ifac: z
    .strictObject({
      networkName: z.string().min(1).max(256).optional(),
      passphraseFile: z
        .string()
        .min(1)
        .optional()
        .describe('a file that holds it; its last line break is not of it'),
      size: z.int().min(1).max(64).optional().describe('bytes of the code on each packet; 16, on an rnode 8'),
    })
    .refine(({ networkName, passphraseFile }) => networkName !== undefined || passphraseFile !== undefined, {
      error: 'a networkName, a passphraseFile or both',
    })
    .optional()
    .describe('access code: only those who know name and passphrase are on it'),
  bitrate: z
    .int()
    .min(leastBitrate)
    .max(100_000_000_000)
    .optional()
    .describe('bit/s, where it is other than guessed: announces and waiting times go by it'),
  recursivePathRequests: z.boolean().optional().describe('search unknown paths for who asks over it'),
  announcesToInternal: z.boolean().optional().describe('what is heard here goes to internal interfaces'),
  announcesFromInternal: z.boolean().optional().describe('whether announces of internal ones go out of it'),
};

type Undefinable<T> = { readonly [K in keyof T]: T[K] | undefined };

/** What every kind of interface has. */
export interface InterfaceOptions {
  readonly enabled?: boolean;
  readonly mode: InterfaceMode;
  readonly outgoing: boolean;
  readonly announce?:
    | {
        readonly cap?: number | undefined;
        readonly rateTarget?: number | undefined;
        readonly rateGrace?: number | undefined;
        readonly ratePenalty?: number | undefined;
      }
    | undefined;
  readonly gravity?: number | undefined;
  readonly ingress?: Partial<Undefinable<Required<IngressPolicy>>> | undefined;
  readonly egress?: Partial<Undefinable<Required<EgressPolicy>>> | undefined;
  readonly ifac?:
    | {
        readonly networkName?: string | undefined;
        readonly passphraseFile?: string | undefined;
        readonly size?: number | undefined;
      }
    | undefined;
  readonly bitrate?: number | undefined;
  readonly recursivePathRequests?: boolean | undefined;
  readonly announcesToInternal?: boolean | undefined;
  readonly announcesFromInternal?: boolean | undefined;
}

/** How the mesh is to use an interface, in its own units. */
export function policyOf(options: InterfaceOptions): InterfacePolicy {
  const { mode, outgoing, announce, ingress, egress } = options;
  const { bitrate, recursivePathRequests, announcesToInternal, announcesFromInternal } = options;
  return {
    mode,
    outgoing,
    ...(announce === undefined ? {} : { announce: announcePolicyOf(announce) }),
    ...(ingress === undefined ? {} : { ingress: ingressPolicyOf(ingress) }),
    ...(egress === undefined ? {} : { egress: given(egress) }),
    ...(bitrate === undefined ? {} : { bitrate }),
    ...(options.gravity === undefined ? {} : { gravity: options.gravity }),
    ...(recursivePathRequests === undefined ? {} : { recursivePathRequests }),
    ...(announcesToInternal === undefined ? {} : { announcesToInternal }),
    ...(announcesFromInternal === undefined ? {} : { announcesFromInternal }),
  };
}

/** What a change of means a medium that is opened anew: all that the mesh's use of it does not cover. */
export function mediumOf(config: InterfaceConfig): Readonly<Record<string, unknown>> {
  const {
    enabled: _enabled,
    mode: _mode,
    outgoing: _outgoing,
    announce: _announce,
    gravity: _gravity,
    ingress: _ingress,
    egress: _egress,
    bitrate,
    recursivePathRequests: _recursive,
    announcesToInternal: _to,
    announcesFromInternal: _from,
    discoverable: _discoverable,
    ...medium
  } = { discoverable: undefined, ...config };
  // A TNC is handed packets no faster than its air carries them.
  return config.kind === 'kiss' ? { ...medium, bitrate } : medium;
}

function ingressPolicyOf(options: NonNullable<InterfaceOptions['ingress']>): IngressPolicy {
  const { youngFor, calmTime, penalty, releaseEvery, ...rest } = options;
  const times = given({ youngFor, calmTime, penalty, releaseEvery });
  return {
    ...given(rest),
    ...Object.fromEntries(Object.entries(times).map(([key, time]) => [key, time * 1000])),
  };
}

/** What is there of an object's members. */
function given<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function announcePolicyOf(given: NonNullable<InterfaceOptions['announce']>): AnnouncePolicy {
  const { cap, rateTarget, rateGrace, ratePenalty } = given;
  return {
    ...(cap === undefined ? {} : { cap: cap / 100 }),
    ...(rateTarget === undefined ? {} : { rateTarget: rateTarget * 1000 }),
    ...(rateGrace === undefined ? {} : { rateGrace }),
    ...(ratePenalty === undefined ? {} : { ratePenalty: ratePenalty * 1000 }),
  };
}

const fixedMtu = z
  .int()
  .min(500)
  .max(262_144)
  .optional()
  .describe('bytes of the largest packet, where both ends agreed on less than the usual');

const backbone = z
  .boolean()
  .optional()
  .describe(
    'for a fast way between hubs (BackboneInterface of the reference): packets up to 1 MiB, 100 Mbit/s guessed',
  );

const tcpClient = z
  .strictObject({
    ...common,
    kind: z.literal('tcp-client'),
    host: z.string().min(1).describe('host name or address of a TCP interface of another node'),
    port,
    framing: z.enum(['hdlc', 'kiss']).optional().describe('kiss for a TNC behind TCP; hdlc'),
    backbone,
    fixedMtu,
  })
  .describe('connects to a TCP server interface of another node, and again when it is lost');

const tcpServer = z
  .strictObject({
    ...common,
    kind: z.literal('tcp-server'),
    discoverable: discoverableListener,
    host: z.string().min(1).default('127.0.0.1').describe('address to listen on'),
    port: z.int().min(0).max(65_535).describe('TCP port; 0 picks a free one'),
    maxClients: z.int().min(1).max(10_000).default(500).describe('connections at once'),
    backbone,
    fixedMtu,
  })
  .describe('lets other nodes connect');

const udpPort = (fallback: number) => z.int().min(1).max(65_535).default(fallback).describe('UDP port');
const adapterNames = z
  .array(
    z.string().regex(/^[^\s/%]{1,64}$/, 'the name of a network adapter, such as eth0; * stands for anything'),
  )
  .max(64)
  .default([]);

const lan = z
  .strictObject({
    ...common,
    kind: z.literal('lan'),
    group: z
      .string()
      .min(1)
      .max(256)
      .default('reticulum')
      .describe('who finds each other: the same in all of it (group_id of the reference)'),
    adapters: adapterNames.describe('network adapters to use; all without any'),
    ignore: adapterNames.describe('network adapters to leave alone, such as docker*'),
    discoveryPort: udpPort(29_716)
      .refine(number => number < 65_535, 'at most 65534: the one above it is used as well')
      .describe('UDP port of discovery; the one above it is used as well'),
    dataPort: udpPort(42_671).describe('UDP port of the packets; the same in all of the group'),
    scope: z
      .enum(Object.keys(scopes) as (keyof typeof scopes)[])
      .default('link')
      .describe('how far discovery goes; beyond the link only where routers forward multicast'),
    multicastAddressType: z
      .enum(Object.keys(addressTypes) as (keyof typeof addressTypes)[])
      .default('temporary')
      .describe('kind of the multicast address; the same in all of the group'),
    maxPeers: z.int().min(1).max(4096).default(256).describe('peers at once'),
  })
  .describe('finds other nodes on the local networks by IPv6 multicast (AutoInterface of the reference)');

const udpAddress = (what: string) =>
  z
    .string()
    .regex(
      /^(?:\[[0-9a-f:.%a-z]+\]|[^:\s[\]]+):\d{1,5}$/i,
      'host:port, such as 127.0.0.1:4243; an IPv6 address in brackets',
    )
    .refine(text => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, 'port at most 65535')
    .describe(what);

const udp = z
  .strictObject({
    ...common,
    kind: z.literal('udp'),
    listen: udpAddress('where packets are taken, from anybody; port 0 picks a free one'),
    forward: udpAddress('where packets go').refine(text => !text.endsWith(':0'), 'a port from 1'),
    broadcast: z.boolean().default(false).describe('whether forward may be a broadcast address'),
  })
  .describe('one packet in each datagram, to one address (UDPInterface of the reference)');

const rnode = z
  .strictObject({
    ...common,
    kind: z.literal('rnode'),
    discoverable: discoverableRadio,
    port: z
      .string()
      .min(1)
      .max(1024)
      .default('auto')
      .describe(
        'serial device, best by its name in /dev/serial/by-id; auto asks each port whether it is an RNode',
      ),
    region: z.string().min(1).max(32).describe('whose law holds, such as eu868-p or us915: docs/radio.md'),
    regions: z
      .string()
      .min(1)
      .optional()
      .describe('a JSON file with regions beside or in place of the shipped ones'),
    frequency: z.int().optional().describe('Hz, centre; default the one of the region'),
    bandwidth: z
      .union(
        loraBandwidths.map(value => z.literal(value)),
        {
          error: `one of ${[...loraBandwidths].sort((a, b) => a - b).join(', ')} Hz`,
        },
      )
      .default(125_000)
      .describe('Hz'),
    spreadingFactor: z.int().min(5).max(12).default(8).describe('5 is fast, 12 reaches far'),
    codingRate: z.int().min(5).max(8).default(5).describe('bits on the air for four: 5 to 8'),
    txPower: z
      .int()
      .min(0)
      .max(37)
      .optional()
      .describe('dBm into the antenna; default 14, or less where the law says so'),
    antennaGain: z.number().min(-20).max(40).default(2.15).describe('dBi; 2.15 is a dipole'),
    airtimeLimit: z
      .number()
      .gt(0)
      .max(100)
      .optional()
      .describe('percent of an hour; default what the region allows'),
  })
  .describe('a LoRa radio with RNode firmware on a serial port');

const shared = z
  .strictObject({
    ...common,
    ifac: z.undefined({ error: 'a socket of this machine has no access code' }).optional(),
    kind: z.literal('shared'),
    instance: instanceName.default('default').describe('instance_name of the node to use; on Linux only'),
    port: port.optional().describe('its shared_instance_port, where it is found over TCP'),
  })
  .describe('uses another Reticulum node of this machine (rnsd), as its programs do');

/** Bytes that a packet of 500 leaves of two LoRa frames: a longer access code would lose every full packet. */
const longestRadioCode = rnodeMtu - 500;

/** Bytes of an access code where none are given, as the reference has it: less over media whose frames are short. */
export function codeSizeDefault(kind: InterfaceConfig['kind']): number {
  return ['rnode', 'serial', 'kiss', 'pipe'].includes(kind) ? 8 : 16;
}

const serial = z
  .strictObject({ ...common, kind: z.literal('serial'), ...serialShape })
  .describe('a serial line to another node (SerialInterface of the reference)');

const kiss = z
  .strictObject({ ...common, kind: z.literal('kiss'), ...kissShape })
  .describe('a packet radio TNC on a serial port (KISSInterface of the reference)');

const pipe = z
  .strictObject({ ...common, kind: z.literal('pipe'), ...pipeShape })
  .describe('a program that is run here, by its standard input and output (PipeInterface of the reference)');

/** One entry of `interfaces:`. */
export const interfaceSchema = z.discriminatedUnion('kind', [
  tcpClient,
  tcpServer,
  lan,
  udp,
  rnode,
  shared,
  serial,
  kiss,
  pipe,
]);

export type InterfaceConfig =
  | z.infer<typeof tcpClient>
  | z.infer<typeof tcpServer>
  | z.infer<typeof lan>
  | z.infer<typeof udp>
  | z.infer<typeof serial>
  | z.infer<typeof kiss>
  | z.infer<typeof pipe>
  | z.infer<typeof shared>
  | RNodeConfig;

export type RNodeConfig = z.infer<typeof rnode>;

/**
 * What is illegal in an entry of `interfaces:` by the law of its region, by key. An entry that is no whole
 * radio has other mistakes, which its schema tells. `base` is the folder that paths begin in.
 */
export function radioMistakes(entry: unknown, base: string): readonly FieldError[] {
  const parsed = rnode.safeParse(entry);
  if (!parsed.success) {
    return [];
  }
  try {
    const planned = planOf(withBase(parsed.data, base));
    const { size = 0 } = parsed.data.ifac ?? {};
    return [
      ...(Array.isArray(planned) ? planned : []),
      ...(size > longestRadioCode
        ? [{ pointer: 'ifac.size', detail: `${size} is wrong: at most ${longestRadioCode} by radio` }]
        : []),
    ];
  } catch (error) {
    if (isGatewayError(error)) {
      return [{ pointer: 'regions', detail: error.message }];
    }
    throw error;
  }
}

/** The entry with its paths beginning in `base`. */
export function withBase<T extends InterfaceConfig>(entry: T, base: string): T {
  const { ifac } = entry;
  return {
    ...entry,
    ...(ifac?.passphraseFile !== undefined && {
      ifac: { ...ifac, passphraseFile: resolve(base, ifac.passphraseFile) },
    }),
    ...(entry.kind === 'rnode' && entry.regions !== undefined && { regions: resolve(base, entry.regions) }),
  };
}

/** What a radio is set to. Throws `config/invalid` for what `radioMistakes` would have told. */
export function radioPlan(config: RNodeConfig): RadioPlan {
  const planned = planOf(config);
  if (Array.isArray(planned)) {
    throw new GatewayError('config/invalid', `the radio ${config.name} is set up illegally`, {
      errors: planned,
    });
  }
  return planned;
}

function planOf(config: RNodeConfig): RadioPlan | FieldError[] {
  return planRadio(config, readRegions(config.regions));
}
