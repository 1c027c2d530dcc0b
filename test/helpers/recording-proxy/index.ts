export type { AcmeRecord, Kind } from './record.ts';
export { finalizations, isSuccess, ordersMade, sentAgain } from './questions.ts';
export { type RecordingProxy, startRecordingProxy } from './proxy.ts';
