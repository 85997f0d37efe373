mod databases;
mod doctor;
mod health;
mod log;
mod metrics;
mod migrate;
mod seed;
mod serve;
