import { GatewayError, isGatewayError } from '../lib/errors.ts';

/** How many ports after the default one are tried. */
const tries = 20;

/** Splits `host:port`; an IPv6 address loses its brackets. */
export function endpointOf(text: string): { readonly host: string; readonly port: number } {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

/**
 * Opens a port. One that the user chose must be free; a default one gives way to the next. Throws what
 * `listen` threw last, and says so where the port was busy.
 */
export async function listenOrMove(
  listen: (port: number) => Promise<void>,
  port: number,
  chosen: boolean,
): Promise<void> {
  for (let offset = 0; ; offset++) {
    try {
      await listen(port + offset);
      return;
    } catch (error) {
      const busy = isGatewayError(error) && error.detail.errno === 'EADDRINUSE';
      if (!busy) {
        throw error;
      }
      if (chosen || offset >= tries) {
        const { code, message, detail } = error;
        throw new GatewayError(code, `${message}: the port is in use by another program`, {
          cause: error,
          detail,
        });
      }
    }
  }
}
