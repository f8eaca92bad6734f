import type { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import type { Identity } from '../../../src/mesh/reticulum/identity.ts';
import type { Links } from '../../../src/mesh/reticulum/links.ts';
import { probeResponder } from '../../../src/mesh/reticulum/probe.ts';
import { serveRemoteManagement } from '../../../src/mesh/reticulum/remote-management.ts';
import type { RequestHandlers } from '../../../src/mesh/reticulum/request.ts';
import type { Transport } from '../../../src/mesh/reticulum/transport.ts';
import type { NodeSettings } from './settings.ts';

/** A destination that a node has for its own sake. */
export interface Managed {
  readonly destination: LocalDestination;
  readonly handlers?: RequestHandlers;
}

interface Parts {
  readonly identity: Identity;
  readonly transport: Transport;
  readonly links: Links;
}

/** Registers what the configuration asks for, by `probe` and `management`. */
export function manage(
  { answersProbes, managers }: NodeSettings,
  { identity, transport, links }: Parts,
): Map<string, Managed> {
  const managed = new Map<string, Managed>();
  if (answersProbes) {
    const destination = probeResponder(identity);
    transport.register(destination);
    managed.set('probe', { destination });
  }
  if (managers !== undefined) {
    let handlers: RequestHandlers | undefined;
    const destination = serveRemoteManagement({
      identity,
      allowed: managers,
      transport,
      links: {
        accept: (taking, options) => {
          handlers = options.handlers;
          links.accept(taking, options);
        },
      },
      status: () => null,
      titleOf: name => name,
    });
    managed.set('management', { destination, ...(handlers && { handlers }) });
  }
  return managed;
}
