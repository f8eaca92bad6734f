import type { DeliveryRow } from './delivery-table.ts';

/** A delivery of a message that is about to be accepted. */
export type NewDeliveryRow = Omit<DeliveryRow, 'seq'>;

/** The same on its way to the writer, without the names of its members: they would be most of it. */
export type PackedDelivery = readonly [
  id: string,
  bridge: string,
  recipient: string,
  priority: number,
  expiresAt: number,
  state: DeliveryRow['state'],
  reason: string | null,
  code: string | null,
  attempts: number,
  history: string,
];

export function packDelivery(row: NewDeliveryRow): PackedDelivery {
  const { id, bridge, recipient, priority, state, reason, code, attempts, history } = row;
  return [id, bridge, recipient, priority, row.expires_at, state, reason, code, attempts, history];
}

/** The body of its first event, as `deliveryEvent` words it of a delivery that is read back: its history is JSON already. */
export function newDeliveryBody(
  [id, bridge, recipient, _priority, _expiresAt, state, reason, code, attempts, history]: PackedDelivery,
  message: string,
  correlation: string | null,
): string {
  const start = `{"delivery":{"id":${JSON.stringify(id)},"to":${JSON.stringify(recipient)},"bridge":${JSON.stringify(bridge)}`;
  const status = `,"state":"${state}","attempts":${attempts},"history":${history}`;
  const rest = `,"message":"${message}"${member('correlation', correlation)}}}`;
  return start + status + member('reason', reason) + member('code', code) + rest;
}

function member(name: string, value: string | null): string {
  return value === null ? '' : `,"${name}":${JSON.stringify(value)}`;
}
