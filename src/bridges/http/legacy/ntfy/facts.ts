import { defaultLifetime } from '../../../../gateway/message.ts';
import { blobBytes } from '../../blobs.ts';
import type { HttpConfig } from '../../config.ts';

/** What the web app of ntfy and the apps for phones ask before they offer things. Source: ntfy, server/types.go `apiConfigResponse`. */
export function configOf(base: string) {
  return {
    base_url: base,
    app_root: '/',
    enable_login: true,
    enable_signup: false,
    enable_payments: false,
    enable_calls: false,
    enable_emails: false,
    enable_reservations: false,
    enable_web_push: false,
    billing_contact: '',
    web_push_public_key: '',
    disallowed_topics: [],
  };
}

/**
 * Who calls, and what they may do; what was done is not counted here, and shown as nothing. Home Assistant reads it.
 * Source: ntfy, server/types.go `apiAccountResponse`.
 */
export function accountOf(who: { readonly username: string; readonly role: string }, { rates }: HttpConfig) {
  const messages = rates.sends?.quota ?? 0;
  const none = { emails: 0, calls: 0, reservations: 0 };
  return {
    ...who,
    limits: {
      basis: 'tier',
      messages,
      messages_expiry_duration: defaultLifetime / 1000,
      ...none,
      attachment_total_size: blobBytes,
      attachment_file_size: blobBytes,
      attachment_expiry_duration: defaultLifetime / 1000,
      attachment_bandwidth: 0,
    },
    stats: {
      messages: 0,
      messages_remaining: messages,
      ...none,
      emails_remaining: 0,
      calls_remaining: 0,
      reservations_remaining: 0,
      attachment_total_size: 0,
      attachment_total_size_remaining: blobBytes,
    },
  };
}
