import { WebSocketServer } from 'ws';
import { GatewayError } from '../../lib/errors.ts';
import { type Listener, sendProblem } from '../listener.ts';
import { type WsLimits, wsLimits } from './limits.ts';
import { countTurns } from './outlet.ts';
import { type SessionParts, serveSocket } from './session.ts';

export type WsParts = Omit<SessionParts, 'limits' | 'turns' | 'closing'> & {
  readonly limits?: Partial<WsLimits>;
};

/** The live window: `GET /v1/ws`. Before `listen`. */
export function addWsWindow(listener: Listener, parts: WsParts): void {
  const limits = { ...wsLimits, ...parts.limits };
  const session: SessionParts = { ...parts, limits, turns: countTurns(), closing: listener.closing };
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: limits.frameBytes,
    // Compression costs memory per socket and buys little for short JSON.
    perMessageDeflate: false,
    handleProtocols: () => false,
  });
  listener.onUpgrade('/v1/ws', (request, socket, head) => {
    const remote = request.socket.remoteAddress ?? '';
    const header = request.headers.authorization;
    const client =
      header !== undefined
        ? parts.access.bearer(header, remote, { door: 'websocket' })
        : listener.isControl(request)
          ? parts.access.owner()
          : undefined;
    server.handleUpgrade(request, socket, head, accepted =>
      serveSocket(accepted, socket, { remote, client, onMember: () => listener.keep(request) }, session),
    );
  });
  listener.app.get('/v1/ws', (_request, reply) =>
    sendProblem(
      reply.header('upgrade', 'websocket').header('connection', 'Upgrade'),
      new GatewayError('request/unsupported', 'this path speaks WebSocket'),
      426,
    ),
  );
}
