import { planRadio, shippedRegions } from '../../radio/region.ts';
import type { Section } from './ini.ts';
import { type Findings, given, Keys } from './keys.ts';
import { usageOf } from './usage.ts';

/** An entry of `interfaces:`, and the passphrase of its network, which goes into a file of its own. */
export interface ImportedInterface {
  readonly entry: Record<string, unknown>;
  readonly passphrase: string | undefined;
}

/** Kinds of the reference that there is nothing for here, and what to do instead. */
const strangers: Readonly<Record<string, string>> = {
  I2PInterface: 'I2P: point a tcp-client at a tunnel of your I2P router instead',
  AX25KISSInterface: 'AX.25 headers are not spoken here; a TNC without them is a kiss interface',
  RNodeMultiInterface: 'an RNode with several radios is not known here; a single one is an rnode interface',
  WeaveInterface: 'Weave devices are not known here',
};

/**
 * One section of `[interfaces]` as an entry of our own; undefined where there is nothing like it. What is not taken of
 * it is told. The names of the reference may be anything, ours are short and stable.
 */
export function interfaceOf(
  section: Section,
  taken: ReadonlySet<string>,
  findings: Findings,
): ImportedInterface | undefined {
  const title = `interface ${section.name}`;
  const keys = new Keys(section, title, findings);
  const type = keys.text('type') ?? '';
  const read = Object.hasOwn(kinds, type) ? kinds[type] : undefined;
  if (read === undefined) {
    findings.left.push({
      what: `${title} (${type})`,
      why: strangers[type] ?? 'a kind that is not known here',
    });
    return undefined;
  }
  const own = read(keys, section);
  if (own === undefined) {
    return undefined;
  }
  const enabled = keys.yes('interface_enabled', 'enabled') ?? false;
  const { common, passphrase } = commonOf(keys, findings, title);
  const entry = {
    name: nameFor(section.name, taken),
    ...own,
    ...(enabled ? {} : { enabled: false }),
    ...common,
  };
  keys.pass('name', 'ignore_config_warnings');
  keys.end();
  return { entry, passphrase };
}

/** What may stand on an interface of any kind. */
function commonOf(keys: Keys, findings: Findings, title: string) {
  const { passphrase, networkName, ...usage } = usageOf(keys);
  if (passphrase !== undefined) {
    findings.taken.push({ what: `${title}: passphrase`, why: 'in a file of its own, 0600' });
  }
  if (usage.discoverableEvery !== undefined) {
    keys.leave('discoverable', 'what is told of it to others is yours to say: see docs/mesh-management.md');
  }
  const { youngFor, calmTime, penalty, held, releaseEvery, ...ingress } = usage.ingress ?? {};
  const { rateTarget, rateGrace, ratePenalty, ...announce } = usage.announce ?? {};
  return {
    passphrase,
    common: given({
      mode: usage.mode === 'full' ? undefined : usage.mode,
      outgoing: usage.outgoing ? undefined : false,
      bitrate: whole(usage.bitrate),
      announce: some({ ...announce, ...wholes({ rateTarget, rateGrace, ratePenalty }) }),
      ingress: some({ ...ingress, ...wholes({ youngFor, calmTime, penalty, held, releaseEvery }) }),
      egress: some({ ...usage.egress }),
      ifac:
        networkName === undefined && passphrase === undefined
          ? undefined
          : given({ networkName, size: usage.codeSize }),
      gravity: whole(usage.gravity),
      recursivePathRequests: usage.recursivePathRequests,
      announcesToInternal: usage.announcesToInternal,
      announcesFromInternal: usage.announcesFromInternal,
    }),
  };
}

type Reader = (keys: Keys, section: Section) => Record<string, unknown> | undefined;

const tcpServer: Reader = keys => {
  const device = keys.text('device');
  if (device !== undefined) {
    keys.leave('device', `give the address of ${device} as host; until then it is the loopback`);
  }
  keys.pass('prefer_ipv6', 'i2p_tunneled');
  return {
    kind: 'tcp-server',
    host: keys.text('listen_ip', 'listen_on') ?? (device === undefined ? '0.0.0.0' : '127.0.0.1'),
    port: keys.number('listen_port', 'port'),
  };
};

const tcpClient: Reader = keys => {
  keys.pass('i2p_tunneled', 'connect_timeout', 'max_reconnect_tries', 'prefer_ipv6');
  return given({
    kind: 'tcp-client',
    host: keys.text('target_host', 'remote'),
    port: keys.number('target_port', 'port'),
    framing: keys.yes('kiss_framing') === true ? 'kiss' : undefined,
    fixedMtu: keys.number('fixed_mtu'),
  });
};

const serialLine = (keys: Keys) => {
  const parity = keys.text('parity')?.toLowerCase() ?? '';
  return given({
    port: keys.text('port'),
    speed: keys.number('speed'),
    dataBits: keys.number('databits'),
    parity: parity.startsWith('e') ? 'even' : parity.startsWith('o') ? 'odd' : undefined,
    stopBits: keys.number('stopbits'),
  });
};

const beaconOf = (keys: Keys) => {
  const callsign = keys.text('id_callsign');
  const every = keys.number('id_interval');
  return callsign === undefined || every === undefined ? undefined : { callsign, every };
};

const kinds: Readonly<Record<string, Reader>> = {
  AutoInterface: keys =>
    given({
      kind: 'lan',
      group: keys.text('group_id'),
      adapters: keys.list('devices'),
      ignore: keys.list('ignored_devices'),
      discoveryPort: keys.number('discovery_port'),
      dataPort: keys.number('data_port'),
      scope: keys.text('discovery_scope')?.toLowerCase(),
      multicastAddressType: keys.text('multicast_address_type')?.toLowerCase(),
    }),
  TCPServerInterface: tcpServer,
  TCPClientInterface: tcpClient,
  BackboneInterface: (keys, section) => ({
    ...(keys.has('remote') || keys.has('target_host') ? tcpClient : tcpServer)(keys, section),
    backbone: true,
  }),
  BackboneClientInterface: (keys, section) => ({ ...tcpClient(keys, section), backbone: true }),
  UDPInterface(keys) {
    const port = keys.number('port');
    const [listenPort, forwardPort] = [
      keys.number('listen_port') ?? port,
      keys.number('forward_port') ?? port,
    ];
    const forward = keys.text('forward_ip') ?? '255.255.255.255';
    const device = keys.text('device');
    if (device !== undefined) {
      keys.leave('device', `give the addresses of ${device} as listen and forward`);
    }
    return given({
      kind: 'udp',
      listen: `${keys.text('listen_ip') ?? '0.0.0.0'}:${listenPort}`,
      forward: `${forward}:${forwardPort}`,
      broadcast: /\.255$/.test(forward) ? true : undefined,
    });
  },
  SerialInterface: keys => ({ kind: 'serial', ...serialLine(keys) }),
  KISSInterface: keys =>
    given({
      kind: 'kiss',
      ...serialLine(keys),
      preamble: keys.number('preamble'),
      txTail: keys.number('txtail'),
      persistence: keys.number('persistence'),
      slotTime: keys.number('slottime'),
      flowControl: keys.yes('flow_control') === true ? true : undefined,
      beacon: beaconOf(keys),
    }),
  PipeInterface(keys) {
    keys.pass('respawn_delay');
    return { kind: 'pipe', command: wordsOf(keys.text('command') ?? '') };
  },
  RNodeInterface(keys) {
    const radio = {
      frequency: keys.number('frequency'),
      bandwidth: keys.number('bandwidth'),
      spreadingFactor: keys.number('spreadingfactor'),
      codingRate: keys.number('codingrate'),
      txPower: keys.number('txpower'),
      airtimeLimit: keys.number('airtime_limit_long'),
    };
    keys.pass('flow_control');
    const port = keys.text('port');
    if (keys.has('id_callsign') || keys.has('id_interval')) {
      keys.leave('id_callsign', 'an rnode sends no beacon here');
    }
    if (keys.has('airtime_limit_short')) {
      keys.leave('airtime_limit_short', 'airtime is kept by the hour');
    }
    if (port !== undefined && /^(?:tcp|ble):/.test(port)) {
      keys.leave('port', `${port}: RNodes are reached by a serial port here`);
      return undefined;
    }
    const regions = regionsFor(radio);
    if (regions.length === 0) {
      keys.leave('frequency', 'no region of docs/radio.md allows it so: choose a region, and what it allows');
      return undefined;
    }
    const [region, ...others] = regions;
    if (others.length > 0) {
      keys.leave('frequency', `region ${region} was guessed and may be ${others.join(' or ')}: set your own`);
    }
    keys.pass('frequency');
    return given({ kind: 'rnode', port, region, ...radio });
  },
};

/** Regions in which a radio may be set so, the strictest first. */
function regionsFor(radio: Readonly<Record<string, number | undefined>>): string[] {
  return Object.entries(shippedRegions)
    .filter(([region]) => {
      const choice = {
        codingRate: 5,
        spreadingFactor: 8,
        bandwidth: 125_000,
        antennaGain: 2.15,
        ...given(radio),
        region,
      };
      return !Array.isArray(planRadio(choice as Parameters<typeof planRadio>[0], shippedRegions));
    })
    .sort(([, a], [, b]) => a.dutyCycle - b.dutyCycle || a.maxPower - b.maxPower)
    .map(([region]) => region);
}

/** A name of ours for one of the reference. */
function nameFor(name: string, taken: ReadonlySet<string>): string {
  const plain =
    name
      .normalize('NFKD')
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 28)
      .replace(/-+$/, '') || 'interface';
  let found = plain === 'shared-instance' ? 'shared' : plain;
  for (let n = 2; taken.has(found); n++) {
    found = `${plain}-${n}`;
  }
  return found;
}

/** A command line as words: quotes keep spaces, a backslash keeps the next character. */
function wordsOf(line: string): string[] {
  const words: string[] = [];
  for (const [word] of line.matchAll(/(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+/gs)) {
    words.push(
      word.replace(
        /"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/gs,
        (_, double?: string, single?: string, kept?: string) =>
          double?.replace(/\\(["\\])/g, '$1') ?? single ?? kept ?? '',
      ),
    );
  }
  return words;
}

function whole(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.round(value);
}

function wholes(values: Readonly<Record<string, number | undefined>>): Record<string, unknown> {
  return given(Object.fromEntries(Object.entries(values).map(([key, value]) => [key, whole(value)])));
}

function some(object: Record<string, unknown>): Record<string, unknown> | undefined {
  return Object.keys(object).length === 0 ? undefined : object;
}
