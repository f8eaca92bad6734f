import { GatewayError } from '../lib/errors.ts';
import { withWords } from './folding.ts';
import { type Message, nameOf, schemeOf } from './message.ts';
import type { RouteBook } from './route-book.ts';
import { matches, type RouteRule } from './route-rule.ts';
import { type RoutingFacts, route } from './router.ts';
import type { Routes } from './routes.ts';
import type { RouteDesk } from './society-contract.ts';

/** Rules as an admin sees, changes and tries them. */
export function createRouteDesk(parts: {
  readonly book: RouteBook;
  readonly routes: Routes;
  readonly routing: () => RoutingFacts;
  readonly roomExists: (room: string) => boolean;
  readonly now: () => number;
}): RouteDesk {
  const { book, routes } = parts;

  function get(id: string) {
    const view = book.get(id);
    if (view === undefined) {
      throw new GatewayError('request/not-found', `there is no rule ${id.slice(0, 64)}`);
    }
    return view;
  }

  function checkRooms({ to }: Pick<RouteRule, 'to'>): void {
    const wrong = to.findIndex(one => schemeOf(one) === 'room' && !parts.roomExists(nameOf(one)));
    if (wrong >= 0) {
      const detail = 'there is no such room';
      throw new GatewayError('request/not-found', `to: ${detail}`, {
        errors: [{ pointer: `/to/${wrong}`, detail }],
      });
    }
  }

  return {
    list: book.list,
    get,
    async create(id, rule) {
      checkRooms(rule);
      return await book.put(id, before => {
        if (before !== undefined) {
          throw new GatewayError('request/conflict', `there is a rule ${before.id}`, {
            errors: [{ pointer: '/id', detail: 'is taken' }],
          });
        }
        return rule;
      });
    },
    async put(id, rule, guard) {
      checkRooms(rule);
      let made = false;
      const view = await book.put(id, before => {
        made = before === undefined;
        guard?.(before);
        return rule;
      });
      return { route: view, made };
    },
    change: (id, patch, guard) =>
      book.put(id, before => {
        if (before === undefined) {
          return get(id);
        }
        guard?.(before);
        const { source: _source, passed: _passed, leftOut: _leftOut, ...rule } = before;
        const changed = Object.entries({ ...rule, ...patch }).filter(
          ([, value]) => value !== null && value !== undefined,
        );
        const wanted = Object.fromEntries(changed) as unknown as RouteRule;
        checkRooms(wanted);
        return wanted;
      }),
    remove: (id, guard) => book.remove(id, guard),
    test(given) {
      const now = parts.now();
      const message: Message = {
        id: '0'.repeat(32),
        sentAt: now,
        acceptedAt: now,
        expiresAt: now,
        priority: 'normal',
        attachments: [],
        via: [],
        assurance: 'hub',
        ...given,
      };
      const { to, recipients } = route(message, parts.routing());
      const routed = { ...message, to };
      const rules = book.list();
      const first = rules.findIndex(rule => rule.stop === true && matches(rule, routed));
      return {
        to,
        matches: rules
          .slice(0, first < 0 ? undefined : first + 1)
          .flatMap((rule, index) =>
            matches(rule, routed)
              ? [{ id: rule.id, adds: recipients.filter(one => one.route === index).length }]
              : [],
          ),
        recipients: recipients.map(recipient => {
          const words = routes.wordsFor(recipient, routed);
          const said = withWords(routed, words && JSON.stringify(words));
          return {
            to: recipient.address,
            bridge: recipient.bridge,
            ...(recipient.route === undefined ? {} : { route: rules[recipient.route]!.id }),
            priority: recipient.priority ?? message.priority,
            type: said.type,
            text: said.text,
            ...(said.title === undefined ? {} : { title: said.title }),
            passes: routes.hasPlace(message.from, recipient),
          };
        }),
      };
    },
  };
}
