mod follow;
mod login;
mod passwords;
mod refresh;
mod register;
mod rename;
mod sessions;
mod verify_otp;
