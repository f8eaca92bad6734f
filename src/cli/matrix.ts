import { existsSync, mkdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { makeRegistration } from '../bridges/matrix/registration.ts';
import { checkSetup, urlOf } from '../bridges/matrix/setup.ts';
import type { Config } from '../config.ts';
import { writeDurably } from '../gateway/store/synced.ts';
import { utf8 } from '../lib/bytes.ts';
import { type FieldError, GatewayError } from '../lib/errors.ts';
import { systemRandom } from '../lib/random.ts';

/** What `kosctl matrix registration` made. */
export interface MadeRegistration {
  readonly file: string;
  readonly url: string;
}

/**
 * Writes the registration file of a configuration, 0600, with fresh tokens. A file that is there is never overwritten
 * without `force`: the homeserver knows the gateway by it. Throws `config/invalid`, `request/conflict`.
 */
export function writeRegistration(config: Config, force: boolean): MadeRegistration {
  const { matrix } = config.bridges;
  if (matrix === undefined) {
    throw new GatewayError(
      'config/invalid',
      [
        'the configuration has no bridges.matrix. Put this into kos.yaml, with your own names:',
        '  bridges:',
        '    matrix: { homeserver: http://127.0.0.1:8008, serverName: home.example, registration: ./data/matrix-registration.yaml }',
      ].join('\n'),
    );
  }
  const { registration: file, serverName } = matrix;
  const url = urlOf(matrix, config.listen.http);
  if (url === undefined) {
    throw new GatewayError(
      'config/invalid',
      'listen.http has port 0, and the homeserver must know where the gateway is: give it a port, or set bridges.matrix.url',
    );
  }
  if (existsSync(file) && !force) {
    throw new GatewayError(
      'request/conflict',
      `${file} is there already, and the homeserver may know the gateway by it. kosctl config check says whether it is good; --force makes a new one, which the homeserver must then read`,
    );
  }
  const folder = dirname(file);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeDurably(folder, basename(file), utf8(makeRegistration({ serverName, url }, systemRandom)));
  } catch (cause) {
    throw new GatewayError('config/invalid', `${file} cannot be written: ${(cause as Error).message}`, {
      cause,
    });
  }
  return { file, url };
}

/** What is wrong with the registration of a configuration; throws `config/invalid` for what keeps it from working, gives the rest. */
export function checkMatrix(config: Config): readonly FieldError[] {
  const { matrix } = config.bridges;
  if (matrix === undefined) {
    return [];
  }
  const { mistakes, warnings } = checkSetup(matrix, config.listen.http);
  if (mistakes.length > 0) {
    throw new GatewayError(
      'config/invalid',
      `${mistakes.length} mistake(s) in the registration ${matrix.registration}`,
      { errors: mistakes },
    );
  }
  return warnings;
}
