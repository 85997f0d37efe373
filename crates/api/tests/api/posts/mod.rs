mod comments;
mod create;
mod delete;
mod get;
mod like;
mod list;
mod update;
