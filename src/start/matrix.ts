import { createMatrixBridge, type MatrixBridge, type MatrixParts } from '../bridges/matrix/bridge.ts';
import { checkSetup } from '../bridges/matrix/setup.ts';
import type { Config } from '../config.ts';
import { GatewayError } from '../lib/errors.ts';

/**
 * The Matrix bridge, where the configuration has one. Throws `config/invalid` where its registration cannot work: a
 * gateway that starts without it would seem to be there and take nothing.
 */
export function openMatrix(
  config: Config,
  parts: Omit<MatrixParts, 'config' | 'registration'>,
): (MatrixBridge & { readonly serverName: string }) | undefined {
  const { matrix } = config.bridges;
  if (matrix === undefined) {
    return undefined;
  }
  const { registration, mistakes, warnings } = checkSetup(matrix, config.listen.http);
  if (registration === undefined || mistakes.length > 0) {
    throw new GatewayError(
      'config/invalid',
      `${mistakes.length} mistake(s) in the registration ${matrix.registration}`,
      { errors: mistakes },
    );
  }
  for (const { pointer, detail } of warnings) {
    parts.log.warn({ key: pointer }, `${matrix.registration}: ${pointer} ${detail}`);
  }
  const bridge = createMatrixBridge({ ...parts, config: matrix, registration });
  return { ...bridge, serverName: matrix.serverName };
}
