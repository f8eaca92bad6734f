import { z } from 'zod';
import { type Desk, deliveryStates } from '../../gateway/desk.ts';
import { addressSchema as memberSchema, roomNameSchema as nameSchema } from '../../gateway/route-schema.ts';
import { consents, type RoomDetail, type RoomView } from '../../gateway/society-contract.ts';
import { conditionsOf, preconditions, tagged } from './precondition.ts';
import { type Route, route } from './route.ts';

const shape = {
  name: z.string(),
  members: z.array(z.string()).describe('who gets what is said there'),
  addresses: z.array(z.string()).describe('by which peers and other hubs write to it'),
  open: z.boolean().describe('whoever writes /join to it on the mesh becomes a member'),
  source: z.enum(['config', 'api']).describe('who made it: the configuration or the hub, or the API'),
  changed: z.boolean().describe('some of it is not as the configuration says'),
};

const roomSchema = z.looseObject(shape).meta({ id: 'Room' });

const detailSchema = z
  .looseObject({
    ...shape,
    memberStates: z
      .array(
        z.looseObject({
          address: z.string(),
          name: z.string().exactOptional(),
          source: z
            .enum(['config', 'api', 'token', 'bridge'])
            .describe(
              'what makes it a member: the configuration, the API, its token, the bridge it is behind',
            ),
          consent: z.enum(consents).exactOptional().describe('asked: nothing goes to it before it agrees'),
          blocked: z.literal(true).exactOptional(),
          trouble: z
            .looseObject({
              message: z.string(),
              state: z.enum(deliveryStates),
              at: z.int(),
              reason: z.string().exactOptional(),
              code: z.string().exactOptional(),
            })
            .exactOptional()
            .describe('the newest of what was said that did not get there or waits with a reason'),
        }),
      )
      .describe('how it is with each'),
  })
  .meta({ id: 'RoomWithMembers' });

const members = z.array(memberSchema).max(256);
const consent = z
  .literal('given')
  .describe('an admin says that the new members have agreed: they are told, not asked');
const wanted = {
  members: members.exactOptional().describe('all that there are to be'),
  open: z.boolean().exactOptional().describe(shape.open.description!),
  consent: consent.exactOptional(),
};
const params = z.strictObject({ name: nameSchema });
const memberParams = z.strictObject({ name: nameSchema, address: memberSchema });
const headers = { ETag: 'its tag, for If-Match' };
const answer = { description: 'as it is now', schema: detailSchema, headers };

/** Rooms as the configuration, the clients' tokens and what was changed here make them. */
export function roomRoutes(desk: Desk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/rooms',
      summary: 'The rooms the client is a member of, all for an admin',
      tag: 'rooms',
      audience: ['messages:read'],
      responses: {
        200: {
          description: 'all of them, by name',
          schema: z.looseObject({ items: z.array(roomSchema), cursor: z.null() }),
        },
      },
      handle: ({ client }) => ({
        status: 200,
        json: {
          items: desk.rooms.list(client).map(briefJson),
          cursor: null,
        },
      }),
    }),
    route({
      method: 'POST',
      path: '/v1/rooms',
      summary: 'Make a room; it is there after a restart, too',
      tag: 'rooms',
      audience: ['rooms:write'],
      body: z.strictObject({ name: nameSchema, ...wanted }).meta({ id: 'RoomDraft' }),
      responses: {
        201: { ...answer, headers: { ...headers, Location: 'its path' } },
        409: { description: 'the name is taken, or a member does not want to be one' },
      },
      async handle({ client, body: { name, ...room } }) {
        const made = await desk.rooms.create(client, name, room);
        return tagged(201, roomJson(made), { location: pathOf(name) });
      },
    }),
    route({
      method: 'GET',
      path: '/v1/rooms/{name}',
      summary: 'One room, and how it is with each of its members',
      tag: 'rooms',
      audience: ['messages:read'],
      params,
      responses: { 200: { description: 'the room', schema: detailSchema, headers } },
      handle: ({ client, params: { name } }) => ({
        status: 200,
        json: roomJson(desk.rooms.get(client, name)),
      }),
    }),
    route({
      method: 'PUT',
      path: '/v1/rooms/{name}',
      summary: 'Make a room exactly so, whether it is there or not',
      tag: 'rooms',
      audience: ['rooms:write'],
      params,
      headers: preconditions,
      body: z.strictObject(wanted).meta({ id: 'RoomSetting' }),
      responses: {
        200: answer,
        201: { ...answer, description: 'it is made', headers: { ...headers, Location: 'its path' } },
      },
      async handle(call) {
        const { name } = call.params;
        const guard = conditionsOf<RoomDetail>(call, roomJson);
        const { room, made } = await desk.rooms.put(call.client, name, call.body, guard);
        return tagged(made ? 201 : 200, roomJson(room), made ? { location: pathOf(name) } : {});
      },
    }),
    route({
      method: 'PATCH',
      path: '/v1/rooms/{name}',
      summary: 'Change some of a room; what is absent stays',
      tag: 'rooms',
      audience: ['rooms:write'],
      params,
      headers: { 'If-Match': preconditions['If-Match'] },
      body: z.strictObject(wanted).meta({ id: 'RoomPatch' }),
      responses: { 200: answer },
      async handle(call) {
        const guard = conditionsOf<RoomDetail>(call, roomJson);
        return tagged(
          200,
          roomJson(await desk.rooms.change(call.client, call.params.name, call.body, guard)),
        );
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/rooms/{name}',
      summary:
        'Take a room away, also where the configuration names it; what was said there stays readable by admins',
      tag: 'rooms',
      audience: ['rooms:write'],
      params,
      headers: { 'If-Match': preconditions['If-Match'] },
      responses: { 204: { description: 'it is gone' } },
      async handle(call) {
        await desk.rooms.remove(call.client, call.params.name, conditionsOf<RoomDetail>(call, roomJson));
        return { status: 204 };
      },
    }),
    route({
      method: 'POST',
      path: '/v1/rooms/{name}/reset',
      summary: 'Forget what was changed of a room: it is as in the configuration, or gone',
      tag: 'rooms',
      audience: ['admin'],
      params,
      responses: { 204: { description: 'done' } },
      async handle({ client, params: { name } }) {
        await desk.rooms.reset(client, name);
        return { status: 204 };
      },
    }),
    route({
      method: 'PUT',
      path: '/v1/rooms/{name}/members/{address}',
      summary: 'Add a member; somebody on the mesh is asked first',
      tag: 'rooms',
      audience: ['rooms:write'],
      params: memberParams,
      query: z.strictObject({ consent: consent.exactOptional() }),
      responses: { 200: answer, 409: { description: 'it does not want to be one, or is blocked' } },
      async handle({ client, params: { name, address }, query }) {
        return tagged(200, roomJson(await desk.rooms.addMember(client, name, address, query.consent)));
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/rooms/{name}/members/{address}',
      summary: 'Take a member out; what still waits for it is cancelled',
      tag: 'rooms',
      audience: ['rooms:write'],
      params: memberParams,
      responses: { 204: { description: 'it is none any more' } },
      async handle({ client, params: { name, address } }) {
        await desk.rooms.removeMember(client, name, address);
        return { status: 204 };
      },
    }),
  ];
}

function pathOf(name: string): string {
  return `/v1/rooms/${encodeURIComponent(name)}`;
}

/** A room as JSON shows it in the list. */
function briefJson({ name, members: all, addresses, open, source, changed }: RoomView) {
  return { name, members: all, addresses, open, source, changed };
}

/** A room as JSON shows it alone. */
function roomJson(room: RoomDetail) {
  return { ...briefJson(room), memberStates: room.memberStates };
}
