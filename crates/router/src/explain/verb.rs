//! `pointsman explain`: asks a running router, or a file.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use http::Method;

use super::{Explanation, Known, Question, explain};
use crate::{
    control::{Origin, Overrides, made},
    verb::{Admin, print},
};

/// The arguments of `pointsman explain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The request's method.
    method: String,
    /// Its path and query, or a whole URL.
    path: String,
    /// A header of it; as often as there are.
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// Its host, if the URL does not say it.
    #[arg(long)]
    host: Option<String>,
    /// The address of its client, where requests are spread by that.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// The router's admin listener.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8401", conflicts_with = "config")]
    admin: SocketAddr,
    /// Ask this file instead of a running router: it knows the rules, and no instances.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Asks, and tells the answer.
///
/// # Errors
/// If the question can be no request, the router does not answer, or the file cannot be used.
pub async fn run(arguments: Arguments, to: &mut impl Write) -> Result<(), String> {
    let Arguments { method, path, headers, host, client, admin, config, json } = arguments;
    let headers = headers.iter().map(|header| field(header)).collect::<Result<_, _>>()?;
    let question = Question { method, path, headers, host, client };
    // What is no request is told without a router.
    question.head()?;
    let told = match config {
        Some(file) => by_file(file, &question)?,
        None => by_router(admin, &question).await?,
    };
    let text = match json {
        true => serde_json::to_string(&told).map_err(|error| error.to_string())? + "\n",
        false => told.to_string(),
    };
    print(to, &text)
}

/// `name: value`, as curl takes it.
fn field(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("{text:?} is no header; write -H 'name: value'");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn by_file(file: PathBuf, question: &Question) -> Result<Explanation, String> {
    let file = if file.is_dir() { file.join("router.yml") } else { file };
    let settings = Origin::File(file).load(&Overrides::default()).map_err(|error| error.to_string())?;
    let made = made().map_err(|error| error.to_string())?;
    let compiled = crate::plan::compile(&settings, &made, &mut Vec::new()).map_err(|error| error.to_string())?;
    let foreseen = crate::plan::foreseen(&settings);
    explain(&compiled.plan, Known::File(&compiled.policies, foreseen.as_ref()), question)
}

async fn by_router(address: SocketAddr, question: &Question) -> Result<Explanation, String> {
    let admin = Admin::at(address)?;
    let body = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    admin.read(&admin.done(Method::POST, "/explain", body.into()).await?, "an explanation")
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_header_is_written_as_for_curl() {
        assert_eq!(field("service_id:pets"), Ok(("service_id".to_owned(), "pets".to_owned())));
        assert_eq!(field("a: b:c "), Ok(("a".to_owned(), "b:c".to_owned())));
        assert!(field("pets").unwrap_err().contains("write -H"));
    }
}
