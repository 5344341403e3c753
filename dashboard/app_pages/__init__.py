"""The pages, each a short script that Streamlit runs: what is shown, in which order."""
