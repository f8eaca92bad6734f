import type { MatrixConfig } from './config.ts';
import { checkRegistrationFile, type Findings } from './registration.ts';

/**
 * Where the homeserver reaches the gateway: `bridges.matrix.url`, or the address that is listened on. Undefined where
 * that says nothing, because the port is free to choose.
 */
export function urlOf(config: MatrixConfig, listen: string): string | undefined {
  if (config.url !== undefined) {
    return config.url;
  }
  const colon = listen.lastIndexOf(':');
  const [host, port] = [listen.slice(0, colon), listen.slice(colon + 1)];
  return port === '0' ? undefined : `http://${isEvery(host) ? '127.0.0.1' : host}:${port}`;
}

/** The registration of a configuration with everything that is wrong with it. */
export function checkSetup(config: MatrixConfig, listen: string): Findings {
  const host = listen.slice(0, listen.lastIndexOf(':'));
  // On every interface the homeserver may know the gateway by any of its names.
  const firm = config.url !== undefined || !isEvery(host);
  return checkRegistrationFile(config.registration, {
    serverName: config.serverName,
    url: firm ? urlOf(config, listen) : undefined,
  });
}

function isEvery(host: string): boolean {
  return host === '0.0.0.0' || host === '[::]';
}
