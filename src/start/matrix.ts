import type { addAppservice } from '../bridges/matrix/appservice.ts';
import type { MatrixBridge, MatrixParts } from '../bridges/matrix/bridge.ts';
import type { Config } from '../config.ts';
import { GatewayError } from '../lib/errors.ts';

export type HubMatrix = MatrixBridge & {
  readonly serverName: string;
  readonly addAppservice: typeof addAppservice;
};

/**
 * The Matrix bridge, where the configuration has one; loaded only then. Rejects with `config/invalid` where its
 * registration cannot work: a gateway that starts without it would seem to be there and take nothing.
 */
export async function openMatrix(
  config: Config,
  parts: Omit<MatrixParts, 'config' | 'registration'>,
): Promise<HubMatrix | undefined> {
  const { matrix } = config.bridges;
  if (matrix === undefined) {
    return undefined;
  }
  const [{ addAppservice }, { createMatrixBridge }, { checkSetup }] = await Promise.all([
    import('../bridges/matrix/appservice.ts'),
    import('../bridges/matrix/bridge.ts'),
    import('../bridges/matrix/setup.ts'),
  ]);
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
  return { ...bridge, serverName: matrix.serverName, addAppservice };
}
