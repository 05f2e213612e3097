CREATE TABLE jobs ( id VARCHAR(32) NOT NULL, spec JSON NOT NULL, creator TEXT NOT NULL, experiment TEXT NOT NULL, run TEXT NOT NULL, state VARCHAR(16) NOT NULL, error TEXT NOT NULL, error_reason TEXT NOT NULL, warnings JSON NOT NULL, feature_spec TEXT NOT NULL, metric VARCHAR(32) NOT NULL, best_trial INTEGER NOT NULL, best_score DOUBLE NOT NULL, spent_seconds DOUBLE NOT NULL, cancelled BOOLEAN NOT NULL, created BIGINT NOT NULL, started BIGINT, ended BIGINT, closed BOOLEAN NOT NULL, revision BIGINT NOT NULL, PRIMARY KEY (id) );
CREATE TABLE trials ( job VARCHAR(32) NOT NULL, number INTEGER NOT NULL, learner TEXT NOT NULL, params JSON NOT NULL, state VARCHAR(16) NOT NULL, metrics JSON NOT NULL, score DOUBLE, rank DOUBLE NOT NULL, run TEXT NOT NULL, error TEXT NOT NULL, ray_node TEXT NOT NULL, ray_worker TEXT NOT NULL, started BIGINT NOT NULL, ended BIGINT, packed BOOLEAN NOT NULL, logged BOOLEAN NOT NULL, revision BIGINT NOT NULL, PRIMARY KEY (job, number), FOREIGN KEY(job) REFERENCES jobs (id) ON DELETE CASCADE );
CREATE INDEX jobs_by_closed ON jobs (closed, id);
CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX trials_by_list_trials ON trials (job, rank, number);
CREATE INDEX trials_by_logged ON trials (logged, job, number);
CREATE INDEX trials_by_watch_job ON trials (job, revision);
