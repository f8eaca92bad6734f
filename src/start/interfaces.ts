import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import type { Log } from '../lib/log.ts';
import type { Interface } from '../mesh/interface.ts';
import type { InterfaceConfig } from '../radio/config.ts';
import { Lan } from '../radio/lan/lan.ts';
import { TcpClient } from '../radio/tcp-client.ts';
import { TcpServer } from '../radio/tcp-server.ts';
import { Udp } from '../radio/udp.ts';
import { endpointOf } from './listening.ts';

/** The medium a config entry names. */
export function createInterface(
  config: InterfaceConfig,
  parts: { readonly clock: Clock; readonly counters: Counters; readonly log?: Log },
): Interface {
  switch (config.kind) {
    case 'tcp-client':
      return new TcpClient(config, parts);
    case 'tcp-server':
      return new TcpServer(config, parts);
    case 'lan': {
      const { group: name, scope, multicastAddressType: addressType } = config;
      return new Lan({ ...config, group: { name, scope, addressType } }, parts);
    }
    case 'udp':
      return new Udp(
        { ...config, listen: endpointOf(config.listen), forward: endpointOf(config.forward) },
        parts,
      );
  }
}

/** Where an interface listens, as `host:port`; undefined where it does not, or not now. */
export function addressOf(iface: Interface): string | undefined {
  if (!(iface instanceof TcpServer || iface instanceof Udp) || iface.address === undefined) {
    return undefined;
  }
  const { host, port } = iface.address;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
