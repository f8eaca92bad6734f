import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { fromHex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Interface } from '../mesh/interface.ts';
import { AccessCode } from '../mesh/reticulum/access-code.ts';
import type { InterfacePolicy } from '../mesh/reticulum/interface-policy.ts';
import type { MeshStorage } from '../mesh/storage.ts';
import type { AirtimeStore, MachineTime } from '../radio/airtime.ts';
import { codeSizeDefault, type InterfaceConfig, policyOf, radioPlan } from '../radio/config.ts';
import { Lan } from '../radio/lan/lan.ts';
import { LocalClient } from '../radio/local-client.ts';
import { placeOf } from '../radio/local-config.ts';
import { LocalServer } from '../radio/local-server.ts';
import { openPipe } from '../radio/pipe.ts';
import { RNode } from '../radio/rnode/rnode.ts';
import { type OpenSerial, openSerial } from '../radio/serial.ts';
import { TcpClient } from '../radio/tcp-client.ts';
import { TcpServer } from '../radio/tcp-server.ts';
import { Udp } from '../radio/udp.ts';
import { createKiss, createPipe, createSerial } from '../radio/wired.ts';
import { endpointOf } from './listening.ts';

export interface InterfaceParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
  /** Where radios keep how much they have sent. */
  readonly storage: MeshStorage;
  /** How serial ports are opened. Default: those of the machine. */
  readonly open?: OpenSerial | undefined;
}

/** How the mesh is to use the interface of a config entry. Throws `config/invalid` where its passphrase cannot be read. */
export function policyFor(config: InterfaceConfig): InterfacePolicy {
  const { ifac } = config;
  if (config.kind === 'shared') {
    return { ...policyOf(config), local: 'instance' };
  }
  if (ifac === undefined) {
    return policyOf(config);
  }
  const { size = codeSizeDefault(config.kind) } = ifac;
  return { ...policyOf(config), accessCode: new AccessCode({ ...secretsOf(config), size }) };
}

/** What the access code of an interface is made of; nothing where it has none. Throws `config/invalid` where its passphrase cannot be read. */
export function secretsOf({ name, ifac }: Pick<InterfaceConfig, 'name' | 'ifac'>): {
  readonly networkName?: string | undefined;
  readonly passphrase?: string | undefined;
} {
  if (ifac === undefined) {
    return {};
  }
  const { networkName, passphraseFile } = ifac;
  const passphrase = passphraseFile === undefined ? undefined : readPassphrase(name, passphraseFile);
  return { networkName, passphrase };
}

function codeSizeOf(config: InterfaceConfig): { readonly codeSize?: number } {
  return config.ifac === undefined ? {} : { codeSize: config.ifac.size ?? codeSizeDefault(config.kind) };
}

function readPassphrase(name: string, file: string): string {
  try {
    const passphrase = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    if (passphrase !== '') {
      return passphrase;
    }
  } catch (cause) {
    throw new GatewayError('config/invalid', `the passphrase of interface ${name} cannot be read`, {
      cause,
      errors: [{ pointer: file, detail: (cause as NodeJS.ErrnoException).code ?? String(cause) }],
    });
  }
  throw new GatewayError('config/invalid', `the passphrase of interface ${name} is empty`, {
    errors: [{ pointer: file, detail: 'an empty file' }],
  });
}

/** The medium a config entry names. */
export function createInterface(config: InterfaceConfig, parts: InterfaceParts): Interface {
  switch (config.kind) {
    case 'tcp-client':
      return new TcpClient(config, parts);
    case 'tcp-server':
      return new TcpServer(config, parts);
    case 'lan': {
      const { group: name, scope, multicastAddressType: addressType, bitrate: _, ...rest } = config;
      return new Lan({ ...rest, ...codeSizeOf(config), group: { name, scope, addressType } }, parts);
    }
    case 'udp': {
      const { bitrate: _, ...rest } = config;
      return new Udp(
        {
          ...rest,
          ...codeSizeOf(config),
          listen: endpointOf(config.listen),
          forward: endpointOf(config.forward),
        },
        parts,
      );
    }
    case 'serial':
      return createSerial(config, { ...parts, open: () => (parts.open ?? openSerial)(config.port, config) });
    case 'kiss':
      return createKiss(config, { ...parts, open: () => (parts.open ?? openSerial)(config.port, config) });
    case 'pipe':
      return createPipe(config, { ...parts, open: () => openPipe(config.command, parts.clock) });
    case 'shared':
      return new LocalClient(
        { name: config.name, place: placeOf({ name: config.instance, port: config.port }) },
        parts,
      );
    case 'rnode':
      return new RNode(
        { name: config.name, port: config.port, plan: radioPlan(config) },
        {
          ...parts,
          open: parts.open ?? openSerial,
          store: airtimeStore(parts.storage),
          machine: machineTime(),
        },
      );
  }
}

/** The ledgers of radios, in the mesh's storage: written rarely, and durable when they are. */
export function airtimeStore(storage: MeshStorage): AirtimeStore {
  return {
    load: key => [...storage.load('airtime')].find(entry => entry.key === key)?.value,
    save: (key, value) => storage.save('airtime', key, value),
  };
}

/** The machine's own time since its start, where it tells which start that was. */
export function machineTime(): MachineTime | undefined {
  try {
    const id = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', '');
    return { bootId: fromHex(id, 16), uptime: () => uptime() * 1000 };
  } catch {
    return undefined;
  }
}

/** Where an interface listens, as `host:port` or, for programs of this machine, as `rns/name`; undefined where it does not, or not now. */
export function addressOf(iface: Interface): string | undefined {
  if (iface instanceof LocalServer) {
    return iface.address;
  }
  if (!(iface instanceof TcpServer || iface instanceof Udp) || iface.address === undefined) {
    return undefined;
  }
  const { host, port } = iface.address;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
