/** The tasks of the queue: the steps of docs/design.md, the dispatcher, and the minutely sweep. */
export const taskIdentifiers = [
  'dispatch',
  'attend',
  'register',
  'create',
  'prove',
  'finalize',
  'download',
  'cancel',
  'revoke',
  'reconcile',
  'features',
  'tidy',
] as const;

/** The name of a task, as the queue knows it. */
export type TaskIdentifier = (typeof taskIdentifiers)[number];
